// Lists of numbers as cpuset(7) writes them: "0-3,7".
#pragma once

#include <set>
#include <string>

#include "base/status.h"

namespace stasis::engine {

// An empty list is an empty set. kInvalidArgument "invalid format: %s" as Docker says it; numbers end at
// 8191, as CONFIG_NR_CPUS does.
StatusOr<std::set<int>> ParseNumberList(const std::string& text);

// Docker's check of HostConfig.CpusetCpus and CpusetMems against what the machine has: "Invalid value %s for
// cpuset cpus: ...", "Requested CPUs are not available - requested %s, available: %s". What is `available` is
// not known where it is empty; then only the form is checked.
Status CheckCpus(const std::string& requested, const std::string& available);
Status CheckMemoryNodes(const std::string& requested, const std::string& available);

}  // namespace stasis::engine
