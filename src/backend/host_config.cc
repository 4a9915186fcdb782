// HostConfig's JSON.
#include "backend/config_json.h"
#include "backend/container_config.h"
#include "backend/host_config_check.h"
#include "backend/mount_json.h"

namespace stasis::backend {
namespace {

using Type = KeptField::Type;

const std::vector<KeptField>& KeptFields() {
  static const std::vector<KeptField> kFields = {{"ContainerIDFile", Type::kText, ""},
                                                 {"VolumeDriver", Type::kText, ""},
                                                 {"VolumesFrom", Type::kList, Json()},
                                                 {"CgroupnsMode", Type::kText, "private"},
                                                 {"Cgroup", Type::kText, ""},
                                                 {"Links", Type::kList, Json()},
                                                 {"UsernsMode", Type::kText, ""},
                                                 {"Isolation", Type::kText, ""},
                                                 {"StorageOpt", Type::kObject},
                                                 {"DeviceRequests", Type::kList, Json()},
                                                 {"DeviceCgroupRules", Type::kList, Json()},
                                                 {"CpuRealtimePeriod", Type::kNumber, 0},
                                                 {"CpuRealtimeRuntime", Type::kNumber, 0},
                                                 {"BlkioWeight", Type::kNumber, 0},
                                                 {"BlkioWeightDevice", Type::kList, Json::array()},
                                                 {"BlkioDeviceReadBps", Type::kList, Json::array()},
                                                 {"BlkioDeviceWriteBps", Type::kList, Json::array()},
                                                 {"BlkioDeviceReadIOps", Type::kList, Json::array()},
                                                 {"BlkioDeviceWriteIOps", Type::kList, Json::array()},
                                                 {"KernelMemory", Type::kNumber},
                                                 {"KernelMemoryTCP", Type::kNumber},
                                                 {"CpuCount", Type::kNumber, 0},
                                                 {"CpuPercent", Type::kNumber, 0},
                                                 {"IOMaximumIOps", Type::kNumber, 0},
                                                 {"IOMaximumBandwidth", Type::kNumber, 0}};
  return kFields;
}

Ulimit UlimitFromJson(const Json& json, Unread& unread) {
  JsonReader reader(json, "Ulimits");
  Ulimit limit;
  reader.Get("Name", &limit.name);
  reader.Get("Soft", &limit.soft);
  reader.Get("Hard", &limit.hard);
  unread.Add(reader.status());
  return limit;
}

DeviceRequest DeviceFromJson(const Json& json, Unread& unread) {
  JsonReader reader(json, "Devices");
  DeviceRequest device;
  reader.Get("PathOnHost", &device.path_on_host);
  reader.Get("PathInContainer", &device.path_in_container);
  reader.Get("CgroupPermissions", &device.permissions);
  unread.Add(reader.status());
  return device;
}

void ReadResources(JsonReader& reader, HostConfig& config, Unread& unread) {
  reader.Get("Memory", &config.memory);
  reader.Get("MemorySwap", &config.memory_swap);
  reader.Get("MemoryReservation", &config.memory_reservation);
  reader.Get("NanoCpus", &config.nano_cpus);
  reader.Get("CpuShares", &config.cpu_shares);
  reader.Get("CpuPeriod", &config.cpu_period);
  reader.Get("CpuQuota", &config.cpu_quota);
  reader.Get("CpusetCpus", &config.cpuset_cpus);
  reader.Get("CpusetMems", &config.cpuset_mems);
  reader.Get("ShmSize", &config.shm_size);
  reader.Get("OomScoreAdj", &config.oom_score_adj);
  reader.Get("CgroupParent", &config.cgroup_parent);
  GetList(reader, "Ulimits", UlimitFromJson, &config.ulimits, unread);
  GetList(reader, "Devices", DeviceFromJson, &config.devices, unread);
}

void ReadRestartPolicy(const JsonReader& reader, HostConfig& config, Unread& unread) {
  const Json* value = reader.Find("RestartPolicy");
  if (!value) return;
  JsonReader policy(*value, "HostConfig.RestartPolicy");
  policy.Get("Name", &config.restart_policy);
  policy.Get("MaximumRetryCount", &config.restart_maximum);
  unread.Add(policy.status());
}

void ReadLogConfig(const JsonReader& reader, HostConfig& config, Unread& unread) {
  const Json* value = reader.Find("LogConfig");
  if (!value) return;
  JsonReader log(*value, "HostConfig.LogConfig");
  log.Get("Type", &config.log_driver);
  unread.Add(log.status());
  GetStringMap(log, "Config", &config.log_options, unread);
}

void ReadLists(JsonReader& reader, HostConfig& config, Unread& unread) {
  reader.Get("Binds", &config.binds);
  reader.Get("CapAdd", &config.cap_add);
  reader.Get("CapDrop", &config.cap_drop);
  reader.Get("GroupAdd", &config.group_add);
  reader.Get("SecurityOpt", &config.security_opt);
  reader.Get("Dns", &config.dns);
  reader.Get("DnsSearch", &config.dns_search);
  reader.Get("DnsOptions", &config.dns_options);
  reader.Get("ExtraHosts", &config.extra_hosts);
  GetList(reader, "Mounts", MountFromJson, &config.mounts, unread);
  GetStringMap(reader, "Tmpfs", &config.tmpfs, unread);
  GetStringMap(reader, "Sysctls", &config.sysctls, unread);
  GetStringMap(reader, "Annotations", &config.annotations, unread);
  if (const Json* ports = reader.Find("PortBindings")) {
    if (ports->is_object()) {
      config.port_bindings = *ports;
    } else {
      unread.Add(WrongType("HostConfig.PortBindings", "an object", *ports));
    }
  }
}

void WriteResources(const HostConfig& config, Json& json) {
  json["Memory"] = config.memory;
  json["MemorySwap"] = config.memory_swap;
  json["MemoryReservation"] = config.memory_reservation;
  json["MemorySwappiness"] = OptionalToJson(config.memory_swappiness);
  json["OomKillDisable"] = OptionalToJson(config.oom_kill_disable);
  json["NanoCpus"] = config.nano_cpus;
  json["CpuShares"] = config.cpu_shares;
  json["CpuPeriod"] = config.cpu_period;
  json["CpuQuota"] = config.cpu_quota;
  json["CpusetCpus"] = config.cpuset_cpus;
  json["CpusetMems"] = config.cpuset_mems;
  json["PidsLimit"] = OptionalToJson(config.pids_limit);
  json["ShmSize"] = config.shm_size;
  json["OomScoreAdj"] = config.oom_score_adj;
  json["CgroupParent"] = config.cgroup_parent;
  json["Ulimits"] = Json();
  for (const Ulimit& limit : config.ulimits) {
    json["Ulimits"].push_back({{"Name", limit.name}, {"Soft", limit.soft}, {"Hard", limit.hard}});
  }
  json["Devices"] = Json();
  for (const DeviceRequest& device : config.devices) {
    json["Devices"].push_back({{"PathOnHost", device.path_on_host},
                               {"PathInContainer", device.path_in_container},
                               {"CgroupPermissions", device.permissions}});
  }
}

}  // namespace

Status ReadConsoleSize(const JsonReader& reader, ConsoleSize* size) {
  const Json* json = reader.Find("ConsoleSize");
  if (!json || json->is_null()) return absl::OkStatus();
  auto fits = [](const Json& number) {
    return number.is_number_unsigned() && number.get<uint64_t>() <= 0xffff;
  };
  if (!json->is_array() || json->size() != 2 || !fits((*json)[0]) || !fits((*json)[1])) {
    return InvalidArgument("ConsoleSize: want [height, width]");
  }
  *size = {(*json)[0].get<uint32_t>(), (*json)[1].get<uint32_t>()};
  return absl::OkStatus();
}

HostConfig DecodeHostConfig(const Json& json, std::vector<Status>* problems) {
  Unread unread(problems);
  JsonReader reader(json, "HostConfig");
  HostConfig config;
  reader.Get("ReadonlyRootfs", &config.readonly_rootfs);
  reader.Get("Privileged", &config.privileged);
  reader.Get("AutoRemove", &config.auto_remove);
  reader.Get("NetworkMode", &config.network_mode);
  reader.Get("IpcMode", &config.ipc_mode);
  reader.Get("PidMode", &config.pid_mode);
  reader.Get("UTSMode", &config.uts_mode);
  reader.Get("Runtime", &config.runtime);
  reader.Get("PublishAllPorts", &config.publish_all_ports);
  GetOptional(json, "HostConfig", "Init", &config.init, unread);
  GetOptional(json, "HostConfig", "PidsLimit", &config.pids_limit, unread);
  GetOptional(json, "HostConfig", "MemorySwappiness", &config.memory_swappiness, unread);
  if (config.memory_swappiness == -1) config.memory_swappiness.reset();  // the CLI's way to say nothing
  GetOptional(json, "HostConfig", "OomKillDisable", &config.oom_kill_disable, unread);
  GetOptional(json, "HostConfig", "MaskedPaths", &config.masked_paths, unread);
  GetOptional(json, "HostConfig", "ReadonlyPaths", &config.readonly_paths, unread);
  ReadResources(reader, config, unread);
  ReadLists(reader, config, unread);
  unread.Add(reader.status());
  ReadLogConfig(reader, config, unread);
  unread.Add(ReadConsoleSize(reader, &config.console_size));
  ReadRestartPolicy(reader, config, unread);
  ReadKept(reader, KeptFields(), &config.kept, unread);
  return config;
}

StatusOr<HostConfig> HostConfigFromJson(const Json& json) {
  std::vector<Status> problems;
  HostConfig config = DecodeHostConfig(json, &problems);
  if (!problems.empty()) return problems.front();
  STASIS_RETURN_IF_ERROR(CheckHostConfig(config));
  return config;
}

Json ToJson(const HostConfig& config) {
  Json json{
      {"Binds", ListOrNull(config.binds)},
      {"LogConfig", {{"Type", config.log_driver}, {"Config", config.log_options}}},
      {"NetworkMode", config.network_mode},
      {"PortBindings", config.port_bindings},
      {"RestartPolicy", {{"Name", config.restart_policy}, {"MaximumRetryCount", config.restart_maximum}}},
      {"AutoRemove", config.auto_remove},
      {"ConsoleSize", {config.console_size.height, config.console_size.width}},
      {"CapAdd", ListOrNull(config.cap_add)},
      {"CapDrop", ListOrNull(config.cap_drop)},
      {"Dns", ListOrNull(config.dns)},
      {"DnsOptions", ListOrNull(config.dns_options)},
      {"DnsSearch", ListOrNull(config.dns_search)},
      {"ExtraHosts", ListOrNull(config.extra_hosts)},
      {"GroupAdd", ListOrNull(config.group_add)},
      {"IpcMode", config.ipc_mode},
      {"PidMode", config.pid_mode},
      {"Privileged", config.privileged},
      {"PublishAllPorts", config.publish_all_ports},
      {"ReadonlyRootfs", config.readonly_rootfs},
      {"SecurityOpt", ListOrNull(config.security_opt)},
      {"UTSMode", config.uts_mode},
      {"Runtime", config.runtime},
      {"MaskedPaths", OptionalToJson(config.masked_paths)},
      {"ReadonlyPaths", OptionalToJson(config.readonly_paths)}};
  WriteResources(config, json);
  WriteKept(config.kept, KeptFields(), &json);
  if (config.init) json["Init"] = *config.init;
  if (!config.tmpfs.empty()) json["Tmpfs"] = config.tmpfs;
  if (!config.sysctls.empty()) json["Sysctls"] = config.sysctls;
  if (!config.annotations.empty()) json["Annotations"] = config.annotations;
  for (const MountRequest& mount : config.mounts) json["Mounts"].push_back(ToJson(mount));
  return json;
}

}  // namespace stasis::backend
