// Record locks (fcntl(2), F_SETLK) of restored processes. The kernel drops all that a process has on a file
// when the process closes any descriptor of that file, and CRIU, which takes the locks with the descriptors,
// closes the ones by which it has mapped files afterwards: who has mapped a file that it has locked, as
// sqlite has, would run on without the lock. So preload/posix_locks.c takes them once more, when nothing is
// closed any more. Locks that belong to an open file (flock(2), F_OFD_SETLK) are not dropped.
#pragma once

#include "base/status.h"

namespace stasis::criu {

// Among the images that a restore reads. Lines "PID DESCRIPTOR TYPE START LENGTH": the pid as the container
// sees it, the others as in struct flock, from the file's beginning.
inline constexpr char kPosixLocksFile[] = "posix-locks";

// Makes kPosixLocksFile of CRIU's own image of locks; where there is none, nothing. kDataLoss: that is none.
Status ListPosixLocks(int images);

}  // namespace stasis::criu
