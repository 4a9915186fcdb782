// What the supervisor reads of a bundle: config.json of the runtime-spec.
#pragma once

#include <string>

#include "base/names.h"
#include "base/status.h"
#include "types/api.pb.h"

namespace stasis::supervisor {

struct Bundle {
  std::string path;
  bool terminal = false;    // process.terminal
  std::string cgroup_path;  // linux.cgroupsPath, "/ID" where there is none; begins with a slash
  types::Process process;   // the init, as State shows it
};

// Reads PATH/config.json for the container `id`. kInvalidArgument: the path is not absolute, or the file is
// no spec; kNotFound: there is none.
StatusOr<Bundle> ReadBundle(const std::string& path, const BundleId& id);

}  // namespace stasis::supervisor
