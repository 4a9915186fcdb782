#include "backend/container_config.h"

#include <sys/types.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/log.h"

namespace stasis::backend {
namespace {

constexpr int64_t kMinimumMemory = 6 * 1024 * 1024;

std::string Plain(int64_t number) { return std::to_string(number); }

// Types nlohmann calls by other names than the API's.
Status WrongType(std::string_view field, std::string_view want, const Json& got) {
  return InvalidArgument(std::string(field) + ": want " + std::string(want) + ", got " + got.type_name());
}

Status GetStringMap(const JsonReader& reader, std::string_view field,
                    std::map<std::string, std::string>* out) {
  const Json* value = reader.Find(field);
  if (!value) return absl::OkStatus();
  if (!value->is_object()) return WrongType(field, "an object of strings", *value);
  std::map<std::string, std::string> map;
  for (const auto& [key, item] : value->items()) {
    if (!item.is_string()) return WrongType(std::string(field) + "." + key, "a string", item);
    map[key] = item.get<std::string>();
  }
  *out = std::move(map);
  return absl::OkStatus();
}

// The API writes sets as objects with empty values.
Status GetKeys(const JsonReader& reader, std::string_view field, std::vector<std::string>* out) {
  const Json* value = reader.Find(field);
  if (!value) return absl::OkStatus();
  if (!value->is_object()) return WrongType(field, "an object", *value);
  std::vector<std::string> keys;
  for (const auto& [key, item] : value->items()) keys.push_back(key);
  *out = std::move(keys);
  return absl::OkStatus();
}

// A command: a list of strings, or one string (Docker's StrSlice).
Status GetCommand(JsonReader& reader, std::string_view field, std::optional<std::vector<std::string>>* out) {
  const Json* value = reader.Find(field);
  if (!value) return absl::OkStatus();
  std::vector<std::string> words;
  if (value->is_string()) {
    words.push_back(value->get<std::string>());
  } else {
    reader.Get(field, &words);
    STASIS_RETURN_IF_ERROR(reader.status());
  }
  *out = std::move(words);
  return absl::OkStatus();
}

template <typename T>
Status GetOptional(JsonReader& reader, std::string_view field, std::optional<T>* out) {
  if (!reader.Find(field)) return absl::OkStatus();
  T value{};
  reader.Get(field, &value);
  STASIS_RETURN_IF_ERROR(reader.status());
  *out = value;
  return absl::OkStatus();
}

// Calls `parse` with each element of a list of objects.
template <typename T>
Status GetList(const JsonReader& reader, std::string_view field, StatusOr<T> (*parse)(const Json&),
               std::vector<T>* out) {
  const Json* value = reader.Find(field);
  if (!value) return absl::OkStatus();
  if (!value->is_array()) return WrongType(field, "a list", *value);
  std::vector<T> items;
  for (const Json& item : *value) {
    STASIS_ASSIGN_OR_RETURN(T parsed, parse(item));
    items.push_back(std::move(parsed));
  }
  *out = std::move(items);
  return absl::OkStatus();
}

StatusOr<MountRequest> MountFromJson(const Json& json) {
  JsonReader reader(json, "Mounts");
  MountRequest mount;
  reader.Get("Type", &mount.type);
  reader.Get("Source", &mount.source);
  reader.Get("Target", &mount.target);
  reader.Get("ReadOnly", &mount.read_only);
  STASIS_RETURN_IF_ERROR(reader.status());
  if (const Json* options = reader.Find("BindOptions")) {
    JsonReader bind(*options, "Mounts.BindOptions");
    bind.Get("Propagation", &mount.propagation);
    bind.Get("CreateMountpoint", &mount.create_source);
    STASIS_RETURN_IF_ERROR(bind.status());
  }
  if (const Json* options = reader.Find("TmpfsOptions")) {
    JsonReader tmpfs(*options, "Mounts.TmpfsOptions");
    tmpfs.Get("SizeBytes", &mount.tmpfs_size);
    tmpfs.Get("Mode", &mount.tmpfs_mode);
    STASIS_RETURN_IF_ERROR(tmpfs.status());
  }
  if (mount.type != "bind" && mount.type != "tmpfs" && mount.type != "volume") {
    return InvalidArgument("mount type unknown: \"" + mount.type + "\"");
  }
  auto invalid = [&](std::string_view what) {
    return InvalidArgument("invalid mount config for type \"" + mount.type + "\": " + std::string(what));
  };
  if (mount.target.empty()) return invalid("field Target must not be empty");
  if (mount.target[0] != '/') return invalid("mount path must be absolute: " + mount.target);
  if (mount.type == "bind") {
    if (mount.source.empty()) return invalid("field Source must not be empty");
    if (mount.source[0] != '/') return invalid("mount path must be absolute: " + mount.source);
  }
  if (mount.type == "tmpfs" && !mount.source.empty()) return invalid("field Source must not be specified");
  if (mount.tmpfs_size < 0) return invalid("TmpfsOptions.SizeBytes must not be negative");
  if (mount.tmpfs_mode > 07777) return invalid("TmpfsOptions.Mode must be at most 07777");
  return mount;
}

Json ToJson(const MountRequest& mount) {
  Json json{{"Type", mount.type}, {"Target", mount.target}};
  if (!mount.source.empty()) json["Source"] = mount.source;
  if (mount.read_only) json["ReadOnly"] = true;
  if (!mount.propagation.empty()) json["BindOptions"]["Propagation"] = mount.propagation;
  if (mount.create_source) json["BindOptions"]["CreateMountpoint"] = true;
  if (mount.tmpfs_size != 0) json["TmpfsOptions"]["SizeBytes"] = mount.tmpfs_size;
  if (mount.tmpfs_mode != 0) json["TmpfsOptions"]["Mode"] = mount.tmpfs_mode;
  return json;
}

StatusOr<Ulimit> UlimitFromJson(const Json& json) {
  JsonReader reader(json, "Ulimits");
  Ulimit limit;
  reader.Get("Name", &limit.name);
  reader.Get("Soft", &limit.soft);
  reader.Get("Hard", &limit.hard);
  STASIS_RETURN_IF_ERROR(reader.status());
  static constexpr std::string_view kNames[] = {
      "as",   "core",   "cpu",   "data", "fsize",  "locks",  "memlock",    "msgqueue",
      "nice", "nofile", "nproc", "rss",  "rtprio", "rttime", "sigpending", "stack"};
  if (std::find(std::begin(kNames), std::end(kNames), limit.name) == std::end(kNames)) {
    return InvalidArgument("invalid ulimit type: " + limit.name);
  }
  if (limit.hard != -1 && (limit.soft > limit.hard || limit.soft == -1)) {
    return InvalidArgument("ulimit soft limit must be less than or equal to hard limit: " +
                           Plain(limit.soft) + " > " + Plain(limit.hard));
  }
  return limit;
}

StatusOr<DeviceRequest> DeviceFromJson(const Json& json) {
  JsonReader reader(json, "Devices");
  DeviceRequest device;
  reader.Get("PathOnHost", &device.path_on_host);
  reader.Get("PathInContainer", &device.path_in_container);
  reader.Get("CgroupPermissions", &device.permissions);
  STASIS_RETURN_IF_ERROR(reader.status());
  if (device.permissions.find_first_not_of("rwm") != std::string::npos) {
    return InvalidArgument("invalid device mode: " + device.permissions);
  }
  return device;
}

Status ReadResources(JsonReader& reader, HostConfig& config) {
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
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_RETURN_IF_ERROR(GetOptional(reader, "PidsLimit", &config.pids_limit));
  STASIS_RETURN_IF_ERROR(GetList(reader, "Ulimits", UlimitFromJson, &config.ulimits));
  return GetList(reader, "Devices", DeviceFromJson, &config.devices);
}

// Docker's checks of resources, with its words.
Status CheckResources(const HostConfig& config) {
  if (config.memory != 0 && config.memory < kMinimumMemory) {
    return InvalidArgument("Minimum memory limit allowed is 6MB");
  }
  if (config.memory_swap < -1)
    return InvalidArgument("invalid memory swap limit: " + Plain(config.memory_swap));
  if (config.memory == 0 && config.memory_swap > 0) {
    return InvalidArgument("You should always set the Memory limit when using Memoryswap limit, see usage");
  }
  if (config.memory_swap > 0 && config.memory_swap < config.memory) {
    return InvalidArgument("Minimum memoryswap limit should be larger than memory limit, see usage");
  }
  if (config.memory_reservation < 0 || (config.memory > 0 && config.memory_reservation > config.memory)) {
    return InvalidArgument("Minimum memory limit can not be less than memory reservation limit, see usage");
  }
  if (config.nano_cpus < 0) return InvalidArgument("NanoCpus must not be negative");
  if (config.nano_cpus > 0 && (config.cpu_period > 0 || config.cpu_quota > 0)) {
    return InvalidArgument("Conflicting options: Nano CPUs and CPU " +
                           std::string(config.cpu_period > 0 ? "Period" : "Quota") + " cannot both be set");
  }
  if (config.cpu_shares < 0) {
    return InvalidArgument("invalid CPU shares (" + Plain(config.cpu_shares) +
                           "): value must be a positive integer");
  }
  if (config.cpu_period != 0 && (config.cpu_period < 1000 || config.cpu_period > 1000000)) {
    return InvalidArgument(
        "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
  }
  if (config.cpu_quota != 0 && config.cpu_quota != -1 && config.cpu_quota < 1000) {
    return InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)");
  }
  if (config.shm_size < 0) return InvalidArgument("SHM size can not be less than 0");
  if (config.oom_score_adj < -1000 || config.oom_score_adj > 1000) {
    return InvalidArgument("Invalid value " + Plain(config.oom_score_adj) +
                           ", range for oom score adj is [-1000, 1000]");
  }
  return absl::OkStatus();
}

Status ReadRestartPolicy(const JsonReader& reader, HostConfig& config) {
  const Json* value = reader.Find("RestartPolicy");
  if (!value) return absl::OkStatus();
  JsonReader policy(*value, "HostConfig.RestartPolicy");
  policy.Get("Name", &config.restart_policy);
  policy.Get("MaximumRetryCount", &config.restart_maximum);
  STASIS_RETURN_IF_ERROR(policy.status());
  const std::string& name = config.restart_policy;
  if (!name.empty() && name != "no" && name != "always" && name != "on-failure" && name != "unless-stopped") {
    return InvalidArgument("invalid restart policy: unknown policy '" + name +
                           "'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'");
  }
  if (config.restart_maximum < 0) {
    return InvalidArgument("invalid restart policy: maximum retry count cannot be negative");
  }
  if (config.restart_maximum != 0 && name != "on-failure") {
    return InvalidArgument("invalid restart policy: maximum retry count can only be used with 'on-failure'");
  }
  return absl::OkStatus();
}

Status ReadLogConfig(const JsonReader& reader, HostConfig& config) {
  const Json* value = reader.Find("LogConfig");
  if (!value) return absl::OkStatus();
  JsonReader log(*value, "HostConfig.LogConfig");
  log.Get("Type", &config.log_driver);
  STASIS_RETURN_IF_ERROR(log.status());
  return GetStringMap(log, "Config", &config.log_options);
}

Status ReadLists(JsonReader& reader, HostConfig& config) {
  reader.Get("Binds", &config.binds);
  reader.Get("CapAdd", &config.cap_add);
  reader.Get("CapDrop", &config.cap_drop);
  reader.Get("GroupAdd", &config.group_add);
  reader.Get("SecurityOpt", &config.security_opt);
  reader.Get("Dns", &config.dns);
  reader.Get("ExtraHosts", &config.extra_hosts);
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_RETURN_IF_ERROR(GetList(reader, "Mounts", MountFromJson, &config.mounts));
  STASIS_RETURN_IF_ERROR(GetStringMap(reader, "Tmpfs", &config.tmpfs));
  STASIS_RETURN_IF_ERROR(GetStringMap(reader, "Sysctls", &config.sysctls));
  if (const Json* ports = reader.Find("PortBindings")) {
    if (!ports->is_object()) return WrongType("HostConfig.PortBindings", "an object", *ports);
    config.port_bindings = *ports;
  }
  return absl::OkStatus();
}

// A list, or null where it is empty: what Go makes of a nil slice.
Json ListOrNull(const std::vector<std::string>& list) { return list.empty() ? Json() : Json(list); }

Json KeysToJson(const std::vector<std::string>& keys) {
  Json json = Json::object();
  for (const std::string& key : keys) json[key] = Json::object();
  return json;
}

template <typename T>
Json OptionalToJson(const std::optional<T>& value) {
  return value ? Json(*value) : Json();
}

void WriteResources(const HostConfig& config, Json& json) {
  json["Memory"] = config.memory;
  json["MemorySwap"] = config.memory_swap;
  json["MemoryReservation"] = config.memory_reservation;
  json["MemorySwappiness"] = Json();
  json["OomKillDisable"] = Json();
  json["NanoCpus"] = config.nano_cpus;
  json["CpuShares"] = config.cpu_shares;
  json["CpuPeriod"] = config.cpu_period;
  json["CpuQuota"] = config.cpu_quota;
  json["CpuRealtimePeriod"] = 0;
  json["CpuRealtimeRuntime"] = 0;
  json["CpusetCpus"] = config.cpuset_cpus;
  json["CpusetMems"] = config.cpuset_mems;
  json["PidsLimit"] = OptionalToJson(config.pids_limit);
  json["BlkioWeight"] = 0;
  json["ShmSize"] = config.shm_size;
  json["OomScoreAdj"] = config.oom_score_adj;
  json["CgroupParent"] = config.cgroup_parent;
  json["Ulimits"] = Json::array();
  for (const Ulimit& limit : config.ulimits) {
    json["Ulimits"].push_back({{"Name", limit.name}, {"Soft", limit.soft}, {"Hard", limit.hard}});
  }
  json["Devices"] = Json::array();
  for (const DeviceRequest& device : config.devices) {
    json["Devices"].push_back({{"PathOnHost", device.path_on_host},
                               {"PathInContainer", device.path_in_container},
                               {"CgroupPermissions", device.permissions}});
  }
}

}  // namespace

StatusOr<ContainerConfig> ContainerConfigFromJson(const Json& json) {
  JsonReader reader(json, "Config");
  ContainerConfig config;
  reader.Get("Hostname", &config.hostname);
  reader.Get("Domainname", &config.domainname);
  reader.Get("User", &config.user);
  reader.Get("AttachStdin", &config.attach_stdin);
  reader.Get("AttachStdout", &config.attach_stdout);
  reader.Get("AttachStderr", &config.attach_stderr);
  reader.Get("Tty", &config.tty);
  reader.Get("OpenStdin", &config.open_stdin);
  reader.Get("StdinOnce", &config.stdin_once);
  reader.Get("Env", &config.env);
  reader.Get("Image", &config.image);
  reader.Get("WorkingDir", &config.working_dir);
  reader.Get("StopSignal", &config.stop_signal);
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_RETURN_IF_ERROR(GetCommand(reader, "Cmd", &config.cmd));
  STASIS_RETURN_IF_ERROR(GetCommand(reader, "Entrypoint", &config.entrypoint));
  STASIS_RETURN_IF_ERROR(GetStringMap(reader, "Labels", &config.labels));
  STASIS_RETURN_IF_ERROR(GetOptional(reader, "StopTimeout", &config.stop_timeout));
  STASIS_RETURN_IF_ERROR(GetKeys(reader, "Volumes", &config.volumes));
  STASIS_RETURN_IF_ERROR(GetKeys(reader, "ExposedPorts", &config.exposed_ports));
  for (const std::string& entry : config.env) {
    if (entry.empty() || entry[0] == '=')
      return InvalidArgument("invalid environment variable: " + Printable(entry));
    if (entry.find('\0') != std::string::npos) return InvalidArgument("Env: a string holds a NUL byte");
  }
  return config;
}

Json ToJson(const ContainerConfig& config) {
  Json json{{"Hostname", config.hostname},
            {"Domainname", config.domainname},
            {"User", config.user},
            {"AttachStdin", config.attach_stdin},
            {"AttachStdout", config.attach_stdout},
            {"AttachStderr", config.attach_stderr},
            {"Tty", config.tty},
            {"OpenStdin", config.open_stdin},
            {"StdinOnce", config.stdin_once},
            {"Env", config.env},
            {"Cmd", OptionalToJson(config.cmd)},
            {"Image", config.image},
            {"Volumes", config.volumes.empty() ? Json() : KeysToJson(config.volumes)},
            {"WorkingDir", config.working_dir},
            {"Entrypoint", OptionalToJson(config.entrypoint)},
            {"OnBuild", Json()},
            {"Labels", config.labels}};
  if (!config.stop_signal.empty()) json["StopSignal"] = config.stop_signal;
  if (config.stop_timeout) json["StopTimeout"] = *config.stop_timeout;
  if (!config.exposed_ports.empty()) json["ExposedPorts"] = KeysToJson(config.exposed_ports);
  return json;
}

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

StatusOr<HostConfig> HostConfigFromJson(const Json& json) {
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
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_RETURN_IF_ERROR(GetOptional(reader, "Init", &config.init));
  STASIS_RETURN_IF_ERROR(ReadResources(reader, config));
  STASIS_RETURN_IF_ERROR(CheckResources(config));
  STASIS_RETURN_IF_ERROR(ReadLists(reader, config));
  STASIS_RETURN_IF_ERROR(ReadLogConfig(reader, config));
  STASIS_RETURN_IF_ERROR(ReadConsoleSize(reader, &config.console_size));
  STASIS_RETURN_IF_ERROR(ReadRestartPolicy(reader, config));
  if (config.auto_remove && !config.restart_policy.empty() && config.restart_policy != "no") {
    return InvalidArgument("can't create 'AutoRemove' container with restart policy");
  }
  return config;
}

Json ToJson(const HostConfig& config) {
  Json json{
      {"Binds", ListOrNull(config.binds)},
      {"ContainerIDFile", ""},
      {"LogConfig", {{"Type", config.log_driver}, {"Config", config.log_options}}},
      {"NetworkMode", config.network_mode},
      {"PortBindings", config.port_bindings},
      {"RestartPolicy", {{"Name", config.restart_policy}, {"MaximumRetryCount", config.restart_maximum}}},
      {"AutoRemove", config.auto_remove},
      {"VolumeDriver", ""},
      {"VolumesFrom", Json()},
      {"ConsoleSize", {config.console_size.height, config.console_size.width}},
      {"CapAdd", ListOrNull(config.cap_add)},
      {"CapDrop", ListOrNull(config.cap_drop)},
      {"CgroupnsMode", "private"},
      {"Dns", config.dns},
      {"DnsOptions", Json::array()},
      {"DnsSearch", Json::array()},
      {"ExtraHosts", ListOrNull(config.extra_hosts)},
      {"GroupAdd", ListOrNull(config.group_add)},
      {"IpcMode", config.ipc_mode},
      {"Cgroup", ""},
      {"Links", Json()},
      {"PidMode", config.pid_mode},
      {"Privileged", config.privileged},
      {"PublishAllPorts", config.publish_all_ports},
      {"ReadonlyRootfs", config.readonly_rootfs},
      {"SecurityOpt", ListOrNull(config.security_opt)},
      {"UTSMode", config.uts_mode},
      {"UsernsMode", ""},
      {"Runtime", config.runtime},
      {"Isolation", ""}};
  WriteResources(config, json);
  if (config.init) json["Init"] = *config.init;
  if (!config.tmpfs.empty()) json["Tmpfs"] = config.tmpfs;
  if (!config.sysctls.empty()) json["Sysctls"] = config.sysctls;
  for (const MountRequest& mount : config.mounts) json["Mounts"].push_back(ToJson(mount));
  return json;
}

}  // namespace stasis::backend
