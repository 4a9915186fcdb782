// HostConfig.SecurityOpt.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "oci/spec_builder.h"

namespace stasis::engine {

struct SecurityOptions {
  oci::SeccompMode seccomp = oci::SeccompMode::kDefault;
  Json seccomp_profile;  // kCustom
  bool no_new_privileges = false;
  bool unmask_paths = false;  // systempaths=unconfined
};

// "NAME=VALUE" or, as the old form has it, "NAME:VALUE". Labels and AppArmor profiles are accepted and have
// no effect where the kernel has neither. kInvalidArgument "invalid --security-opt ...".
StatusOr<SecurityOptions> ParseSecurityOptions(const std::vector<std::string>& options);

}  // namespace stasis::engine
