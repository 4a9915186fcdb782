#include "api/system_json.h"

#include "absl/time/clock.h"
#include "base/time.h"

namespace stasis::api {
namespace {

#if defined(__x86_64__)
constexpr char kArchitecture[] = "amd64";
#elif defined(__aarch64__)
constexpr char kArchitecture[] = "arm64";
#else
constexpr char kArchitecture[] = "unknown";
#endif

Json EngineComponent(const backend::VersionInfo& version) {
  return {{"Name", "Engine"},
          {"Version", version.version},
          {"Details",
           {{"ApiVersion", "1.47"},
            {"MinAPIVersion", "1.22"},
            {"GitCommit", version.git_commit},
            {"GoVersion", ""},
            {"Os", "linux"},
            {"Arch", kArchitecture},
            {"KernelVersion", version.kernel_version},
            {"Experimental", "true"},
            {"BuildTime", version.build_time}}}};
}

// What this engine can limit; false makes the CLI print a warning for each.
void AddAbilities(Json& json) {
  for (const char* ability :
       {"MemoryLimit", "SwapLimit", "CpuCfsPeriod", "CpuCfsQuota", "CPUShares", "CPUSet", "PidsLimit",
        "OomKillDisable", "IPv4Forwarding", "BridgeNfIptables", "BridgeNfIp6tables"}) {
    json[ability] = true;
  }
  json["KernelMemoryTCP"] = false;
}

}  // namespace

Json VersionToJson(const backend::VersionInfo& version) {
  Json components = Json::array({EngineComponent(version)});
  for (const backend::Component& component : version.components) {
    components.push_back(
        {{"Name", component.name}, {"Version", component.version}, {"Details", component.details}});
  }
  return {{"Platform", {{"Name", "Stasis"}}},
          {"Components", std::move(components)},
          {"Version", version.version},
          {"ApiVersion", "1.47"},
          {"MinAPIVersion", "1.22"},
          {"GitCommit", version.git_commit},
          {"GoVersion", ""},
          {"Os", "linux"},
          {"Arch", kArchitecture},
          {"KernelVersion", version.kernel_version},
          {"Experimental", true},
          {"BuildTime", version.build_time}};
}

Json InfoToJson(const backend::SystemInfo& info, const std::string& version) {
  Json no_commit{{"ID", ""}, {"Expected", ""}};
  Json json{{"ID", info.id},
            {"Containers", info.containers},
            {"ContainersRunning", info.running},
            {"ContainersPaused", info.paused},
            {"ContainersStopped", info.stopped},
            {"Images", info.images},
            {"Driver", "overlay2"},
            {"DriverStatus", Json::array()},
            {"DockerRootDir", info.root_directory},
            {"Plugins",
             {{"Volume", Json::array()},
              {"Network", {"host", "null"}},
              {"Authorization", Json()},
              {"Log", {"json-file"}}}},
            {"Debug", false},
            {"NFd", 0},
            {"NGoroutines", 0},
            {"NEventsListener", 0},
            {"SystemTime", ToRfc3339(absl::Now())},
            {"LoggingDriver", "json-file"},
            {"CgroupDriver", "cgroupfs"},
            {"CgroupVersion", info.cgroup_version},
            {"KernelVersion", info.kernel_version},
            {"OperatingSystem", info.operating_system},
            {"OSVersion", ""},
            {"OSType", "linux"},
            {"Architecture", info.architecture},
            {"NCPU", info.cpus},
            {"MemTotal", info.memory},
            {"IndexServerAddress", "https://index.docker.io/v1/"},
            {"RegistryConfig",
             {{"InsecureRegistryCIDRs", Json::array()},
              {"IndexConfigs", Json::object()},
              {"Mirrors", Json::array()}}},
            {"GenericResources", Json()},
            {"HttpProxy", ""},
            {"HttpsProxy", ""},
            {"NoProxy", ""},
            {"Name", info.name},
            {"Labels", Json::array()},
            {"ExperimentalBuild", true},
            {"ServerVersion", version},
            {"Runtimes", {{"runc", {{"path", "runc"}}}}},
            {"DefaultRuntime", "runc"},
            {"Swarm",
             {{"NodeID", ""},
              {"NodeAddr", ""},
              {"LocalNodeState", "inactive"},
              {"ControlAvailable", false},
              {"Error", ""},
              {"RemoteManagers", Json()}}},
            {"LiveRestoreEnabled", true},
            {"Isolation", ""},
            {"InitBinary", ""},
            {"ContainerdCommit", no_commit},
            {"RuncCommit", {{"ID", info.runc_version}, {"Expected", info.runc_version}}},
            {"InitCommit", no_commit},
            {"SecurityOptions", {"name=seccomp,profile=builtin"}},
            {"CDISpecDirs", Json::array()},
            {"Warnings", info.warnings}};
  AddAbilities(json);
  return json;
}

Json EventToJson(const backend::EventMessage& event) {
  Json json{{"Type", event.type},
            {"Action", event.action},
            {"Actor", {{"ID", event.actor_id}, {"Attributes", event.attributes}}},
            {"scope", "local"},
            {"time", absl::ToUnixSeconds(event.at)},
            {"timeNano", absl::ToUnixNanos(event.at)}};
  if (event.type == "container" || event.type == "image") {
    json["status"] = event.action;
    json["id"] = event.actor_id;
  }
  if (event.type == "container") {
    auto image = event.attributes.find("image");
    if (image != event.attributes.end()) json["from"] = image->second;
  }
  return json;
}

}  // namespace stasis::api
