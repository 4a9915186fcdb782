// What CRIU does not save of threads: the processors that one was bound to, its I/O priority, its timer
// slack. Saved beside the images, for those threads only that have changed any of it;
// preload/thread_settings.c sets it again before CRIU lets the thread go. A restore that cannot (other
// processors, say) leaves the default.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"
#include "criu/processes.h"

namespace stasis::criu {

// Among the images. Lines "THREAD IOPRIO SLACK PROCESSORS": as the container sees it; as ioprio_get(2) says,
// 0: the default; in nanoseconds, 0: the default; cpu_set_t in hexadecimal up to the last byte that is not 0,
// "-": all that the container may use.
inline constexpr char kThreadSettingsFile[] = "thread-settings";

// Of all threads of these processes; ones that end meanwhile are left out. Of the container's cgroup, whose
// directories (Cgroup::Directories) are given, it is asked which processors a thread may use that is not
// bound.
std::string ReadThreadSettings(const std::vector<Process>& processes, const std::vector<std::string>& cgroup);

}  // namespace stasis::criu
