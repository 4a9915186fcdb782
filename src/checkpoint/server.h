// The checkpointer's side of protocol/checkpointer.h.
#pragma once

#include <string>

#include "base/status.h"
#include "linux/unique_fd.h"

namespace stasis::checkpoint {

// Serves one shim over `connection` until it closes; then whatever was under way is cancelled. All of a
// checkpoint runs on the calling thread.
Status Serve(UniqueFd connection, const std::string& preload);

}  // namespace stasis::checkpoint
