#pragma once

#include <sys/types.h>

#include "base/status.h"
#include "linux/unique_fd.h"

namespace stasis {

// A duplicate of another process's descriptor (pidfd_getfd(2)). kNotFound: the process has ended.
StatusOr<UniqueFd> TakeDescriptor(pid_t process, int descriptor);

}  // namespace stasis
