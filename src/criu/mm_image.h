// mm-PID.img: the address space of a process (criu/image.c). PID is as the container sees it. Within this
// room only: it shows CRIU's own messages.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/status.h"
#include "criu/image_file.h"
#include "criu_rpc/images.pb.h"

namespace stasis::criu {

// Bits of VmaEntry.status (criu/include/image.h).
inline constexpr uint32_t kVmaRegular = 1 << 0, kVmaStack = 1 << 1, kVmaVdso = 1 << 3, kVmaHeap = 1 << 5,
                          kVmaFilePrivate = 1 << 6, kVmaAnonymousPrivate = 1 << 9, kVmaVvar = 1 << 12,
                          kVmaAioRing = 1 << 13, kVmaGuard = 1 << 16;

inline std::string MmFile(pid_t process) { return "mm-" + std::to_string(process) + ".img"; }

inline StatusOr<images::MmEntry> ReadMm(int images, pid_t process) {
  constexpr uint32_t kMagic = 0x57492820;
  STASIS_ASSIGN_OR_RETURN(ImageReader reader,
                          ImageReader::Open(images, MmFile(process), kCommonMagic, kMagic));
  images::MmEntry mm;
  STASIS_RETURN_IF_ERROR(reader.Next(&mm));
  return mm;
}

}  // namespace stasis::criu
