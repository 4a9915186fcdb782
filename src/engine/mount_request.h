// Mounts as users write them (HostConfig.Binds, Mounts, Tmpfs), settled into what the spec gets. Messages are
// Docker's; all errors are kInvalidArgument, but for what a later issue brings: kUnimplemented.
//
// Destinations are resolved inside the container's root by runc; here they are only text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "backend/container_config.h"
#include "base/status.h"
#include "engine/record.h"

namespace stasis::engine {

// "SOURCE:DESTINATION[:OPTION,...]" with ro, rw, z, Z, [r]private, [r]slave, [r]shared.
StatusOr<ContainerMount> ParseBind(const std::string& bind);

// One of HostConfig.Mounts. A bind's source must exist.
StatusOr<ContainerMount> SettleMount(const backend::MountRequest& request);

// One of HostConfig.Tmpfs: a path and mount options.
StatusOr<ContainerMount> ParseTmpfs(const std::string& destination, const std::string& options);

// All of them, in the order in which they are mounted: by depth, so that none hides another. "Duplicate mount
// point: %s".
StatusOr<std::vector<ContainerMount>> SettleMounts(const backend::HostConfig& host_config);

}  // namespace stasis::engine
