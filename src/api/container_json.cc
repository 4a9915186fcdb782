#include "api/container_json.h"

#include <cstdlib>

#include "base/time.h"

namespace stasis::api {
namespace {

Json MountsToJson(const std::vector<backend::MountPoint>& mounts) {
  Json list = Json::array();
  for (const backend::MountPoint& mount : mounts) {
    Json item{{"Type", mount.type}, {"Source", mount.source}, {"Destination", mount.destination},
              {"Mode", mount.mode}, {"RW", mount.read_write}, {"Propagation", mount.propagation}};
    if (!mount.name.empty()) item["Name"] = mount.name;
    if (mount.type == "volume") item["Driver"] = "local";
    list.push_back(std::move(item));
  }
  return list;
}

Json EndpointToJson() {
  return {{"IPAMConfig", Json()},     {"Links", Json()},   {"Aliases", Json()}, {"MacAddress", ""},
          {"DriverOpts", Json()},     {"NetworkID", ""},   {"EndpointID", ""},  {"Gateway", ""},
          {"IPAddress", ""},          {"IPPrefixLen", 0},  {"IPv6Gateway", ""}, {"GlobalIPv6Address", ""},
          {"GlobalIPv6PrefixLen", 0}, {"DNSNames", Json()}};
}

// By the name of HostConfig.NetworkMode: clients index one by the other. A container that shares another's
// namespace is in no network of its own.
Json NetworksOf(const std::string& network_mode) {
  Json networks = Json::object();
  if (!network_mode.starts_with("container:")) networks[network_mode] = EndpointToJson();
  return networks;
}

// "80/tcp" as `ps` shows it.
Json PortsToJson(const std::vector<std::string>& ports) {
  Json list = Json::array();
  for (const std::string& port : ports) {
    const size_t slash = port.find('/');
    list.push_back({{"PrivatePort", std::atoi(port.c_str())},
                    {"Type", slash == std::string::npos ? "tcp" : port.substr(slash + 1)}});
  }
  return list;
}

// As inspect does: none of them is published.
Json PortMap(const std::vector<std::string>& ports) {
  Json map = Json::object();
  for (const std::string& port : ports) map[port] = Json();
  return map;
}

Json NetworkSettingsToJson(const backend::ContainerDetails& details) {
  return {{"Bridge", ""},
          {"SandboxID", details.sandbox_key.empty() ? "" : details.id},
          {"SandboxKey", details.sandbox_key},
          {"Ports", PortMap(details.open_ports)},
          {"HairpinMode", false},
          {"LinkLocalIPv6Address", ""},
          {"LinkLocalIPv6PrefixLen", 0},
          {"SecondaryIPAddresses", Json()},
          {"SecondaryIPv6Addresses", Json()},
          {"EndpointID", ""},
          {"Gateway", ""},
          {"GlobalIPv6Address", ""},
          {"GlobalIPv6PrefixLen", 0},
          {"IPAddress", ""},
          {"IPPrefixLen", 0},
          {"IPv6Gateway", ""},
          {"MacAddress", ""},
          {"Networks", NetworksOf(details.host_config.network_mode)}};
}

Json StateToJson(const backend::ContainerState& state) {
  return {{"Status", state.status},
          {"Running", state.running},
          {"Paused", state.paused},
          {"Restarting", state.restarting},
          {"OOMKilled", state.oom_killed},
          {"Dead", state.dead},
          {"Pid", state.pid},
          {"ExitCode", state.exit_code},
          {"Error", state.error},
          {"StartedAt", ToRfc3339(state.started_at)},
          {"FinishedAt", ToRfc3339(state.finished_at)},
          {"Checkpoint", state.checkpoint}};
}

void AddSizes(const std::optional<int64_t>& rw, const std::optional<int64_t>& root_fs, Json& json) {
  if (rw) json["SizeRw"] = *rw;
  if (root_fs) json["SizeRootFs"] = *root_fs;
}

}  // namespace

Json SummaryToJson(const backend::ContainerSummary& summary) {
  Json json{{"Id", summary.id},
            {"Names", summary.names},
            {"Image", summary.image},
            {"ImageID", summary.image_id},
            {"Command", summary.command},
            {"Created", summary.created},
            {"Ports", PortsToJson(summary.open_ports)},
            {"Labels", summary.labels},
            {"State", summary.state},
            {"Status", summary.status},
            {"HostConfig", {{"NetworkMode", summary.network_mode}}},
            {"NetworkSettings", {{"Networks", NetworksOf(summary.network_mode)}}},
            {"Mounts", MountsToJson(summary.mounts)}};
  AddSizes(summary.size_rw, summary.size_root_fs, json);
  return json;
}

Json DetailsToJson(const backend::ContainerDetails& details) {
  Json json{{"Id", details.id},
            {"Created", ToRfc3339(details.created)},
            {"Path", details.path},
            {"Args", details.args},
            {"State", StateToJson(details.state)},
            {"Image", details.image_id},
            {"ResolvConfPath", details.resolv_conf_path},
            {"HostnamePath", details.hostname_path},
            {"HostsPath", details.hosts_path},
            {"LogPath", details.log_path},
            {"Name", details.name},
            {"RestartCount", details.restart_count},
            {"Driver", "overlay2"},
            {"Platform", "linux"},
            {"MountLabel", ""},
            {"ProcessLabel", ""},
            {"AppArmorProfile", ""},
            {"ExecIDs", details.exec_ids.empty() ? Json() : Json(details.exec_ids)},
            {"HostConfig", backend::ToJson(details.host_config)},
            {"GraphDriver",
             {{"Name", "overlay2"},
              {"Data", {{"UpperDir", details.upper_directory}, {"MergedDir", details.merged_directory}}}}},
            {"Mounts", MountsToJson(details.mounts)},
            {"Config", backend::ToJson(details.config)},
            {"NetworkSettings", NetworkSettingsToJson(details)}};
  AddSizes(details.size_rw, details.size_root_fs, json);
  return json;
}

}  // namespace stasis::api
