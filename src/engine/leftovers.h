// What is left of a container that does not run any more: processes whose shim died together with the
// supervisor and what that knew of them. They run on, or stay frozen, and a start would run the container a
// second time beside them.
#pragma once

#include <string>

#include "base/names.h"
#include "base/status.h"

namespace stasis::engine {

// The cgroup of a container, as bundles name it (Cgroup::Open).
std::string CgroupPath(const ContainerId& id);

// Whether there is such a group, with or without processes.
bool HasCgroup(const ContainerId& id);

// Ends all processes in the container's group, frozen ones too, and removes the group. Not for a container
// that the supervisor has. kDeadlineExceeded: some do not end.
Status EndLeftovers(const ContainerId& id);

}  // namespace stasis::engine
