#include "engine/validate.h"
#include "network/network_namespaces.h"

namespace stasis::engine {
namespace {

Status Conflict(const std::string& what) { return InvalidArgument("conflicting options: " + what); }

// Who joins another container's network has that one's name, addresses, ports and files of /etc.
Status CheckJoining(const backend::ContainerConfig& config, const backend::HostConfig& host) {
  if (!config.hostname.empty()) return Conflict("hostname and the network mode");
  if (!host.dns.empty()) return Conflict("dns and the network mode");
  if (!host.extra_hosts.empty()) return Conflict("custom host-to-IP mapping and the network mode");
  if (!host.port_bindings.empty() || host.publish_all_ports)
    return Conflict("port publishing and the container type network mode");
  if (!config.exposed_ports.empty()) return Conflict("port exposing and the container type network mode");
  return {};
}

}  // namespace

Status ValidateNetwork(const backend::CreateRequest& request) {
  const backend::ContainerConfig& config = request.config;
  const backend::HostConfig& host = request.host_config;
  STASIS_ASSIGN_OR_RETURN(const network::Mode mode, network::ParseMode(host.network_mode));
  if (host.uts_mode == "host" && !config.hostname.empty()) return Conflict("hostname and the UTS mode");
  if (mode.kind == network::ModeKind::kContainer) {
    STASIS_RETURN_IF_ERROR(CheckJoining(config, host));
  }
  if (mode.kind != network::ModeKind::kOwn) {
    if (config.kept.value("MacAddress", "") != "") return Conflict("mac-address and the network mode");
    if (config.kept.value("NetworkDisabled", false))
      return Unimplemented(
          "NetworkDisabled together with another's network is not implemented by Stasis yet");
  }
  const Json* endpoints = JsonReader(request.networking_config).Find("EndpointsConfig");
  if (!endpoints || !endpoints->is_object()) return {};
  for (const auto& [name, endpoint] : endpoints->items()) {
    STASIS_RETURN_IF_ERROR(network::ParseMode(name).status());
  }
  return {};
}

}  // namespace stasis::engine
