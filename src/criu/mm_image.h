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
enum VmaStatus : uint32_t {
  kVmaRegular = 1 << 0,
  kVmaStack = 1 << 1,
  kVmaVsyscall = 1 << 2,
  kVmaVdso = 1 << 3,
  kVmaHeap = 1 << 5,
  kVmaFilePrivate = 1 << 6,
  kVmaFileShared = 1 << 7,
  kVmaAnonymousShared = 1 << 8,
  kVmaAnonymousPrivate = 1 << 9,
  kVmaSystemV = 1 << 10,
  kVmaSocket = 1 << 11,
  kVmaVvar = 1 << 12,
  kVmaAioRing = 1 << 13,
  kVmaMemoryFile = 1 << 14,
  kVmaShadowStack = 1 << 15,
  kVmaGuard = 1 << 16,
  kVmaUprobes = 1 << 17,
};

inline std::string MmFile(pid_t process) { return "mm-" + std::to_string(process) + ".img"; }

inline StatusOr<images::MmEntry> ReadMm(int images, pid_t process) {
  STASIS_ASSIGN_OR_RETURN(ImageReader reader,
                          ImageReader::Open(images, MmFile(process), kCommonMagic, kMmMagic));
  images::MmEntry mm;
  STASIS_RETURN_IF_ERROR(reader.Next(&mm));
  return mm;
}

}  // namespace stasis::criu
