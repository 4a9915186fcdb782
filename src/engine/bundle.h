// The bundle of a container: what runc is told, and the files bound into its /etc. Everything in it comes
// from the engine's own record, also at a restore: a checkpoint decides nothing of it.
#pragma once

#include <optional>
#include <string>

#include "base/status.h"
#include "engine/host.h"
#include "engine/paths.h"
#include "engine/record.h"

namespace stasis::engine {

struct BundlePlan {
  const ContainerRecord* record = nullptr;
  const Paths* paths = nullptr;
  const Host* host = nullptr;
  std::string root;                        // the mounted root file system
  std::string network_namespace;           // path; empty: the host's
  std::optional<ContainerId> joined = {};  // whose network namespace that is, where not its own
  bool restore = false;                    // the files in /etc stay as they are
};

// Writes bundle/config.json, hostname, hosts and resolv.conf, and makes sources of binds that are missing
// where -v asks for that. kInvalidArgument, kFailedPrecondition: the record asks for what cannot be.
Status WriteBundle(const BundlePlan& plan);

// What an exec in a container of this record is given.
struct ExecPlan {
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::string user;
  std::string working_dir;
  bool terminal = false;
  bool privileged = false;
};
StatusOr<oci::ProcessOptions> PlanExec(const ContainerRecord& record, const std::string& root,
                                       const ExecPlan& plan);

}  // namespace stasis::engine
