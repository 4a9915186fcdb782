// Files that a command reads and sends.
#pragma once

#include <functional>
#include <string>

#include "base/status.h"
#include "linux/unique_fd.h"

namespace stasis::cli {

// The named file, or our stdin for "-". kInvalidArgument: that is a terminal.
StatusOr<UniqueFd> OpenInput(const std::string& path);

// Reads on from where the file is. The file outlives it.
std::function<StatusOr<size_t>(char* out, size_t size)> ReadFrom(const UniqueFd& file);

}  // namespace stasis::cli
