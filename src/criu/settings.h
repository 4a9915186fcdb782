// What CRIU does not save of processes and their descriptors, although it can be read and set from outside:
// options of sockets (socket(7), tcp(7), ip(7), ipv6(7)), memberships of multicast groups, addresses of
// raw sockets (raw(7)), exclusive terminals (TIOCEXCL, ioctl_tty(2)), coredump_filter (core(5)), autogroups
// and time slices (sched(7)). Saved beside the images, for those only that differ from what a new one has.
// Where it cannot be set again, it stays the default.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "criu/processes.h"

namespace stasis::criu {

// Among the images. Lines of words: "descriptor PID FD NAME VALUE", "group PID FD INTERFACE ADDRESS",
// "process PID NAME VALUE", "thread TID NAME VALUE"; pids as the container sees them.
inline constexpr char kSettingsFile[] = "settings";

// Of all of these; what ends meanwhile is left out. Empty: there is nothing to be saved.
std::string ReadSettings(const std::vector<Process>& processes);

// Of processes that stand still. `threads`: theirs, by what the container knows them by, as we know them.
// Lines that say nothing to us are passed over.
void RestoreSettings(std::string_view settings, const std::map<pid_t, pid_t>& threads);

}  // namespace stasis::criu
