// What CRIU must be told of a container so that `runc restore` brings it back: the same root, external
// namespaces and external mounts that runc itself declares (libcontainer/criu_linux.go of runc 1.3), under
// the same keys.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "criu/session.h"
#include "linux/mounts.h"

namespace stasis::checkpoint {

struct ContainerView {
  std::string root;                            // root file system, absolute, on the host
  std::vector<std::string> external;           // namespaces, "net[INODE]:extRootNetNS"
  std::vector<criu::ExternalMount> mounts;     // bind mounts, masked files, cgroup mounts (v1)
  std::string network;                         // "own", "host", "dumped": Manifest::network_namespace
  std::vector<std::string> stdio_descriptors;  // what the init's 0, 1 and 2 were at its start: "pipe:[123]"
};

// Reads BUNDLE/config.json and what the container `init` sees of its mounts. `runtime_state` is the path of
// runc's state.json for this container; where it is missing, the init's present descriptors stand in.
StatusOr<ContainerView> ReadContainerView(const std::string& bundle, pid_t init,
                                          const std::string& runtime_state);

// The part that needs no running container, for tests: the mount points that `spec` binds, resolved inside
// `root` as runc resolves them (links followed as the container sees them; what does not exist stays as it is
// written).
StatusOr<std::vector<std::string>> BindDestinations(const Json& spec, int root);

// What is mounted below a bind on the host comes with it. kFailedPrecondition: CRIU fails with it, at the
// dump (a namespace that is pinned to a file) or at the restore (the root of another container).
Status CheckBelowBinds(const std::vector<std::string>& binds, const std::vector<MountEntry>& mounts);

// Of runc (`--root`), by the shim's own configuration; runc keeps ID/state.json of a container there.
std::string RuntimeRoot(const std::string& shim_directory);

}  // namespace stasis::checkpoint
