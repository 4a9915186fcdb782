// Files of ours, opened as what they are. Whoever put a FIFO, a device or a link in the place of one can
// neither hold us up nor lead us elsewhere. Each answers at once.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/status.h"
#include "linux/unique_fd.h"

namespace stasis {

// open(2) with O_CLOEXEC, O_NONBLOCK and O_NOFOLLOW added. kFailedPrecondition where something else than a
// regular file has the name.
StatusOr<UniqueFd> OpenRegularFile(const std::string& path, int flags, mode_t mode = 0);
StatusOr<UniqueFd> OpenRegularFileAt(int directory, const std::string& name, int flags, mode_t mode = 0);
// The same for reading, where a link to a regular file is one too, as of the host's own configuration.
// ReadFile (files.h) opens what it reads so.
StatusOr<UniqueFd> OpenRegularFileOrLinkAt(int directory, const std::string& name);

}  // namespace stasis
