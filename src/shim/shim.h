// The process that owns one container (docs/contracts/shim.md).
#pragma once

#include <string>

#include "base/status.h"
#include "linux/unique_fd.h"

namespace stasis {

// Serves the container that DIRECTORY/config.json describes until it has been deleted. Says on `ready`, once,
// "R" when both sockets listen, or what went wrong, and closes it. For a process of its own: it becomes a
// sub-reaper, blocks SIGCHLD, ignores the signals by which users and terminals end programs, and must have
// one thread.
Status RunShim(const std::string& directory, UniqueFd ready);

}  // namespace stasis
