// What Docker gives every container: mounts, masked and read-only paths, device rules. For spec_builder.cc.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "oci/spec_builder.h"

namespace stasis::oci {

std::vector<MountOptions> DefaultMounts(int64_t shm_size);
const std::vector<std::string>& DefaultMaskedPaths();
const std::vector<std::string>& DefaultReadonlyPaths();
// Rules of the devices cgroup: all denied, then what Docker allows. The runtime adds those of the standard
// nodes.
Json DefaultDeviceRules();

}  // namespace stasis::oci
