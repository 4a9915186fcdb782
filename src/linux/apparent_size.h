// How large a tree is by what its files say.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace stasis {

// The sum of st_size of all below `path`, a directory, that is no directory itself; hard links are counted
// once, other file systems left out. What it uses of the disk is DiskUsage (linux/files.h).
StatusOr<uint64_t> ApparentSize(const std::string& path);

}  // namespace stasis
