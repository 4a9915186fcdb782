#include "criu/removed_segments.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/shm.h>

#include <cerrno>
#include <thread>

#include "criu/image_file.h"
#include "criu_rpc/images.pb.h"
#include "linux/files.h"
#include "linux/proc.h"

namespace stasis::criu {

StatusOr<std::vector<int>> ReadRemovedSegments(int images, const std::string& name) {
  STASIS_ASSIGN_OR_RETURN(ImageReader reader, ImageReader::Open(images, name, kCommonMagic, kIpcShmMagic));
  std::vector<int> removed;
  while (!reader.AtEnd()) {
    images::IpcShmEntry segment;
    STASIS_RETURN_IF_ERROR(reader.Next(&segment));
    if ((segment.desc().mode() & SHM_DEST) != 0) removed.push_back(static_cast<int>(segment.desc().id()));
    if (!segment.in_pagemaps()) break;
  }
  return removed;
}

Status RemoveSegments(const std::vector<int>& segments, pid_t thread) {
  if (segments.empty()) return absl::OkStatus();
  STASIS_ASSIGN_OR_RETURN(const UniqueFd space, OpenFile(ProcPath(thread, "ns/ipc"), O_RDONLY));
  Status status;
  // A thread of its own, since it does not come back from there.
  std::jthread([&] {
    if (::setns(space.get(), CLONE_NEWIPC) != 0) {
      status = ErrnoError(errno, "enter the container's IPC namespace");
      return;
    }
    for (const int segment : segments) {
      if (::shmctl(segment, IPC_RMID, nullptr) != 0)
        status.Update(ErrnoError(errno, "remove shared memory segment " + std::to_string(segment)));
    }
  }).join();
  return status;
}

}  // namespace stasis::criu
