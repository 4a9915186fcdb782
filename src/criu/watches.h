// Files that a container watches (inotify(7), fanotify(7)). The kernel tells only device and inode of a
// watched file. On overlayfs CRIU cannot open it by handle and looks for its path, by a scan that may take
// long and happens inside the freeze; here the path is found beforehand and handed to CRIU as its irmap
// cache.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "criu/processes.h"
#include "linux/clock.h"

namespace stasis::criu {

struct Watch {
  uint32_t device = 0;  // as the kernel counts: major << 20 | minor
  uint64_t inode = 0;
  auto operator<=>(const Watch&) const = default;
};

struct WatchedPath {
  Watch watch;
  std::string path;  // absolute, inside the container
};

// The watches of one descriptor, from the text of /proc/PID/fdinfo/FD. Other lines are skipped.
std::vector<Watch> ParseWatches(std::string_view fdinfo);

// All watches that these processes hold, each once.
std::vector<Watch> ReadWatches(const std::vector<Process>& processes);

// Paths of the watches: looked for among open files and working directories, then by walking the container's
// root file system, nearest directories first, until all are found, `deadline`, or 500,000 entries. Those
// that were not found are left out.
std::vector<WatchedPath> FindWatchedPaths(const std::vector<Process>& processes,
                                          const std::vector<Watch>& watches, Deadline deadline,
                                          std::stop_token cancel);

// The bytes of CRIU's irmap-cache for these paths; it belongs into CRIU's work directory.
std::string IrmapCache(const std::vector<WatchedPath>& paths);
inline constexpr char kIrmapCacheFile[] = "irmap-cache";

}  // namespace stasis::criu
