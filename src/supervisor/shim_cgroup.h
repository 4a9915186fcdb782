// Where shims run: outside of the cgroup of the service that started the supervisor, because a service
// manager kills what is in there when it stops or restarts the service.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "linux/mounts.h"

namespace stasis::supervisor {

// Mount points of the hierarchies by which a service manager keeps track (cgroup2, and systemd's own of v1)
// in which we are not at the root. `own` is the text of /proc/self/cgroup (cgroups(7)).
std::vector<std::string> HierarchiesToLeave(std::string_view own, const std::vector<MountEntry>& mounts);

// Makes a group /stasis-shims in each of these and returns their cgroup.procs files. Empty where there is
// nothing to leave, or where groups can't be made.
std::vector<std::string> ShimCgroupFiles();

}  // namespace stasis::supervisor
