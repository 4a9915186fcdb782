#include "engine/network_sysctls.h"

#include "linux/files.h"
#include "linux/namespaces.h"

namespace stasis::engine {

std::map<std::string, std::string> WantedNetworkSysctls(const backend::HostConfig& host_config) {
  std::map<std::string, std::string> sysctls;
  for (const auto& [name, value] : host_config.sysctls) {
    if (IsNetworkSysctl(name)) sysctls[name] = value;
  }
  return sysctls;
}

std::map<std::string, std::string> OwnNetworkSysctls(const backend::HostConfig& host_config) {
  std::map<std::string, std::string> sysctls = WantedNetworkSysctls(host_config);
  if (Exists("/proc/sys/net/ipv4/ip_unprivileged_port_start"))
    sysctls.insert({"net.ipv4.ip_unprivileged_port_start", "0"});
  if (Exists("/proc/sys/net/ipv4/ping_group_range"))
    sysctls.insert({"net.ipv4.ping_group_range", "0 2147483647"});
  return sysctls;
}

}  // namespace stasis::engine
