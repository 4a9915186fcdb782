// mm-PID.img: the address space of a process (criu/image.c). PID is as the container sees it. Within this
// room only: it shows CRIU's own messages.
#pragma once

#include <sys/types.h>

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

// Whether CRIU saves its pages one by one, those that there are (criu/mem.c, generate_vma_iovs).
inline bool IsPrivateMemory(const images::VmaEntry& mapping) {
  constexpr uint32_t kOthers = kVmaVdso | kVmaVvar | kVmaAioRing | kVmaGuard;
  constexpr uint32_t kDroppable = 0x08;  // mmap(2); Debian 12's headers do not have it
  return (mapping.status() & kVmaRegular) != 0 &&
         (mapping.status() & (kVmaFilePrivate | kVmaAnonymousPrivate)) != 0 &&
         (mapping.status() & kOthers) == 0 && (mapping.flags() & kDroppable) == 0;
}

inline StatusOr<images::MmEntry> ReadMm(int images, pid_t process) {
  STASIS_ASSIGN_OR_RETURN(ImageReader reader,
                          ImageReader::Open(images, ImageName("mm", process), kCommonMagic, kMmMagic));
  images::MmEntry mm;
  STASIS_RETURN_IF_ERROR(reader.Next(&mm));
  return mm;
}

}  // namespace stasis::criu
