// The sysctls of a container that belong to its network namespace.
#pragma once

#include <map>
#include <string>

#include "backend/container_config.h"

namespace stasis::engine {

// The "net.*" of HostConfig.Sysctls.
std::map<std::string, std::string> WantedNetworkSysctls(const backend::HostConfig& host_config);

// What a network namespace of the container's own gets: Docker's defaults since 20.10 (any user may listen on
// any port and send ICMP echo requests), as far as this kernel has them, and what is wanted, which prevails.
std::map<std::string, std::string> OwnNetworkSysctls(const backend::HostConfig& host_config);

}  // namespace stasis::engine
