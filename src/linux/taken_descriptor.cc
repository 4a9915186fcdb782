#include "linux/taken_descriptor.h"

#include <sys/syscall.h>
#include <unistd.h>

#include "linux/process_handle.h"

namespace stasis {

StatusOr<UniqueFd> TakeDescriptor(pid_t process, int descriptor) {
  STASIS_ASSIGN_OR_RETURN(const ProcessHandle handle, ProcessHandle::Open(process));
  UniqueFd taken(static_cast<int>(::syscall(SYS_pidfd_getfd, handle.fd(), descriptor, 0)));
  if (!taken.valid()) return ErrnoError(errno, "pidfd_getfd");
  return taken;
}

}  // namespace stasis
