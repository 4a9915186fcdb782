#include "backend/container_config.h"

#include <sys/types.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "backend/host_config_check.h"
#include "base/log.h"

namespace stasis::backend {
namespace {

// Types nlohmann calls by other names than the API's.
Status WrongType(std::string_view field, std::string_view want, const Json& got) {
  return InvalidArgument(std::string(field) + ": want " + std::string(want) + ", got " + got.type_name());
}

// What could not be read. A request is refused for the first of them; a record is taken without them.
class Unread {
 public:
  explicit Unread(std::vector<Status>* out) : out_(*out) {}
  void Add(const Status& status) {
    if (!status.ok()) out_.push_back(status);
  }

 private:
  std::vector<Status>& out_;
};

void GetStringMap(const JsonReader& reader, std::string_view field, std::map<std::string, std::string>* out,
                  Unread& unread) {
  const Json* value = reader.Find(field);
  if (!value) return;
  if (!value->is_object()) return unread.Add(WrongType(field, "an object of strings", *value));
  std::map<std::string, std::string> map;
  for (const auto& [key, item] : value->items()) {
    if (item.is_string()) {
      map[key] = item.get<std::string>();
    } else {
      unread.Add(WrongType(std::string(field) + "." + key, "a string", item));
    }
  }
  *out = std::move(map);
}

// The API writes sets as objects with empty values.
void GetKeys(const JsonReader& reader, std::string_view field, std::vector<std::string>* out,
             Unread& unread) {
  const Json* value = reader.Find(field);
  if (!value) return;
  if (!value->is_object()) return unread.Add(WrongType(field, "an object", *value));
  std::vector<std::string> keys;
  for (const auto& [key, item] : value->items()) keys.push_back(key);
  *out = std::move(keys);
}

// A command: a list of strings, or one string (Docker's StrSlice).
void GetCommand(const Json& object, std::string_view field, std::optional<std::vector<std::string>>* out,
                Unread& unread) {
  JsonReader reader(object, "Config");
  const Json* value = reader.Find(field);
  if (!value) return;
  std::vector<std::string> words;
  if (value->is_string()) {
    words.push_back(value->get<std::string>());
  } else {
    reader.Get(field, &words);
    if (!reader.status().ok()) return unread.Add(reader.status());
  }
  *out = std::move(words);
}

template <typename T>
void GetOptional(const Json& object, std::string_view name, std::string_view field, std::optional<T>* out,
                 Unread& unread) {
  JsonReader reader(object, name);
  if (!reader.Find(field)) return;
  T value{};
  reader.Get(field, &value);
  if (!reader.status().ok()) return unread.Add(reader.status());
  *out = value;
}

// Calls `parse` with each element of a list of objects.
template <typename T>
void GetList(const JsonReader& reader, std::string_view field, T (*parse)(const Json&, Unread&),
             std::vector<T>* out, Unread& unread) {
  const Json* value = reader.Find(field);
  if (!value) return;
  if (!value->is_array()) return unread.Add(WrongType(field, "a list", *value));
  std::vector<T> items;
  for (const Json& item : *value) items.push_back(parse(item, unread));
  *out = std::move(items);
}

MountRequest MountFromJson(const Json& json, Unread& unread) {
  JsonReader reader(json, "Mounts");
  MountRequest mount;
  reader.Get("Type", &mount.type);
  reader.Get("Source", &mount.source);
  reader.Get("Target", &mount.target);
  reader.Get("ReadOnly", &mount.read_only);
  unread.Add(reader.status());
  if (const Json* options = reader.Find("BindOptions")) {
    JsonReader bind(*options, "Mounts.BindOptions");
    bind.Get("Propagation", &mount.propagation);
    bind.Get("CreateMountpoint", &mount.create_source);
    unread.Add(bind.status());
  }
  if (const Json* options = reader.Find("TmpfsOptions")) {
    JsonReader tmpfs(*options, "Mounts.TmpfsOptions");
    tmpfs.Get("SizeBytes", &mount.tmpfs_size);
    tmpfs.Get("Mode", &mount.tmpfs_mode);
    unread.Add(tmpfs.status());
  }
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
  reader.Get("ExtraHosts", &config.extra_hosts);
  GetList(reader, "Mounts", MountFromJson, &config.mounts, unread);
  GetStringMap(reader, "Tmpfs", &config.tmpfs, unread);
  GetStringMap(reader, "Sysctls", &config.sysctls, unread);
  if (const Json* ports = reader.Find("PortBindings")) {
    if (ports->is_object()) {
      config.port_bindings = *ports;
    } else {
      unread.Add(WrongType("HostConfig.PortBindings", "an object", *ports));
    }
  }
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

ContainerConfig DecodeContainerConfig(const Json& json, std::vector<Status>* problems) {
  Unread unread(problems);
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
  GetCommand(json, "Cmd", &config.cmd, unread);
  GetCommand(json, "Entrypoint", &config.entrypoint, unread);
  GetOptional(json, "Config", "StopTimeout", &config.stop_timeout, unread);
  unread.Add(reader.status());
  GetStringMap(reader, "Labels", &config.labels, unread);
  GetKeys(reader, "Volumes", &config.volumes, unread);
  GetKeys(reader, "ExposedPorts", &config.exposed_ports, unread);
  return config;
}

StatusOr<ContainerConfig> ContainerConfigFromJson(const Json& json) {
  std::vector<Status> problems;
  ContainerConfig config = DecodeContainerConfig(json, &problems);
  if (!problems.empty()) return problems.front();
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
  ReadResources(reader, config, unread);
  ReadLists(reader, config, unread);
  unread.Add(reader.status());
  ReadLogConfig(reader, config, unread);
  unread.Add(ReadConsoleSize(reader, &config.console_size));
  ReadRestartPolicy(reader, config, unread);
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
