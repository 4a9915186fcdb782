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

// As Go's path.Clean does: no "." and "..", no double slashes, none at the end.
std::string CleanPath(const std::string& path);

// What decides how binds are settled, besides what is asked for.
struct MountRules {
  bool recursive_read_only = false;  // the kernel has mount_setattr(2), Linux 5.12
  std::string engine_root = {};      // canonical
  // Where the engine mounts containers' roots, and pins network namespaces; canonical.
  std::string container_roots = {};
  std::string network_namespaces = {};
};

// "SOURCE:DESTINATION[:OPTION,...]" with ro, rw, z, Z, [r]private, [r]slave, [r]shared.
StatusOr<ContainerMount> ParseBind(const std::string& bind, const MountRules& rules);

// One of HostConfig.Mounts. A bind's source must exist.
StatusOr<ContainerMount> SettleMount(const backend::MountRequest& request, const MountRules& rules);

// One of HostConfig.Tmpfs: a path and mount options.
StatusOr<ContainerMount> ParseTmpfs(const std::string& destination, const std::string& options);

// A bind that is read-only is so with all that is mounted below its source, as with Docker since 25, where
// the kernel can and BindOptions do not say otherwise. A bind of what holds the engine's root, or lies in it,
// gets the propagation rslave: a private copy of the containers' mounts would keep them from being unmounted.
//
// All of them, in the order in which they are mounted: by depth, so that none hides another. "Duplicate mount
// point: %s".
StatusOr<std::vector<ContainerMount>> SettleMounts(const backend::HostConfig& host_config,
                                                   const MountRules& rules);

// A bind takes along what is mounted below its source: a sentence for each with which checkpoints are refused
// (checkpoint/container_view.h).
std::vector<std::string> CheckpointObstacles(const std::vector<ContainerMount>& mounts,
                                             const MountRules& rules);

}  // namespace stasis::engine
