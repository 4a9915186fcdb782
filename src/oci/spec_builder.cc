#include "oci/spec_builder.h"

#include <algorithm>

#include "oci/seccomp.h"
#include "oci/spec_defaults.h"
#include "oci/spec_process.h"

namespace stasis::oci {
namespace {

constexpr char kSpecVersion[] = "1.2.0";
constexpr uint64_t kNanoCpuPeriod = 100'000;  // microseconds: what Docker makes of --cpus

bool HasOption(const std::vector<std::string>& options, std::string_view option) {
  return std::find(options.begin(), options.end(), option) != options.end();
}

void RemoveOption(std::vector<std::string>& options, std::string_view option) { std::erase(options, option); }

// With a read-only root, what runtimes and libc write to stays writable.
bool StaysWritable(const std::string& destination) {
  return destination == "/proc" || destination == "/dev" || destination == "/dev/pts" ||
         destination == "/dev/shm" || destination == "/dev/mqueue";
}

bool IsAtOrBelow(const std::string& path, const std::string& directory) {
  return path == directory || path.starts_with(directory + "/");
}

// The default mounts, less those that the caller's take the place of, changed as the options say.
std::vector<MountOptions> AdjustedDefaultMounts(const SpecOptions& options) {
  std::vector<MountOptions> out;
  for (MountOptions& mount : DefaultMounts(options.shm_size)) {
    bool replaced = std::any_of(options.mounts.begin(), options.mounts.end(), [&](const MountOptions& own) {
      // A mount on all of /dev hides what would come below it.
      return own.destination == mount.destination ||
             (own.destination == "/dev" && IsAtOrBelow(mount.destination, "/dev"));
    });
    if (replaced || (options.no_shm && mount.destination == "/dev/shm")) continue;
    if (options.ipc.kind == NamespaceOptions::Kind::kHost &&
        (mount.destination == "/dev/shm" || (mount.destination == "/dev/mqueue" && options.bind_mqueue))) {
      mount = {mount.destination, mount.destination, "bind", {"rbind", "nosuid", "noexec", "nodev"}};
    }
    if (options.process.privileged && (mount.type == "sysfs" || mount.type == "cgroup")) {
      RemoveOption(mount.options, "ro");
    }
    if (options.readonly_root && !StaysWritable(mount.destination) && !HasOption(mount.options, "ro")) {
      mount.options.push_back("ro");
    }
    out.push_back(std::move(mount));
  }
  return out;
}

StatusOr<Json> BuildMounts(const SpecOptions& options) {
  std::vector<MountOptions> all = AdjustedDefaultMounts(options);
  all.insert(all.end(), options.mounts.begin(), options.mounts.end());
  Json out = Json::array();
  for (const MountOptions& mount : all) {
    STASIS_RETURN_IF_ERROR(CheckPath("mount path", mount.destination));
    STASIS_RETURN_IF_ERROR(CheckText("mount source", mount.source));
    if (mount.type == "bind") {
      STASIS_RETURN_IF_ERROR(CheckPath("mount source", mount.source));
    }
    for (const std::string& option : mount.options) STASIS_RETURN_IF_ERROR(CheckText("mount option", option));
    out.push_back({{"destination", mount.destination},
                   {"type", mount.type},
                   {"source", mount.source},
                   {"options", mount.options}});
  }
  return out;
}

Status AddNamespace(Json& namespaces, const char* type, const NamespaceOptions& choice) {
  switch (choice.kind) {
    case NamespaceOptions::Kind::kHost:
      return absl::OkStatus();
    case NamespaceOptions::Kind::kPrivate:
      namespaces.push_back({{"type", type}});
      return absl::OkStatus();
    case NamespaceOptions::Kind::kPath:
      STASIS_RETURN_IF_ERROR(CheckPath("namespace path", choice.path));
      namespaces.push_back({{"type", type}, {"path", choice.path}});
      return absl::OkStatus();
  }
  return Internal("unknown namespace kind");
}

StatusOr<Json> BuildNamespaces(const SpecOptions& options) {
  Json out = Json::array();
  out.push_back({{"type", "mount"}});
  STASIS_RETURN_IF_ERROR(AddNamespace(out, "network", options.network));
  STASIS_RETURN_IF_ERROR(AddNamespace(out, "uts", options.uts));
  STASIS_RETURN_IF_ERROR(AddNamespace(out, "pid", options.pid));
  STASIS_RETURN_IF_ERROR(AddNamespace(out, "ipc", options.ipc));
  STASIS_RETURN_IF_ERROR(AddNamespace(out, "cgroup", options.cgroup));
  return out;
}

StatusOr<Json> BuildMemory(const ResourceOptions& resources) {
  Json memory = Json::object();
  if (resources.memory < 0) return InvalidArgument("Memory: must not be negative");
  if (resources.memory_swap > 0 && resources.memory_swap < resources.memory) {
    return InvalidArgument("Minimum memoryswap limit should be larger than memory limit, see usage");
  }
  if (resources.memory > 0) memory["limit"] = resources.memory;
  if (resources.memory_swap != 0) {
    memory["swap"] = resources.memory_swap;
  } else if (resources.memory > 0 && resources.memory <= INT64_MAX / 2) {
    memory["swap"] = resources.memory * 2;
  }
  if (resources.memory_reservation > 0) memory["reservation"] = resources.memory_reservation;
  if (resources.oom_kill_disable) memory["disableOOMKiller"] = true;
  if (resources.memory_swappiness) memory["swappiness"] = *resources.memory_swappiness;
  return memory;
}

StatusOr<Json> BuildCpu(const ResourceOptions& resources) {
  Json cpu = Json::object();
  if (resources.nano_cpus < 0) return InvalidArgument("NanoCPUs: must not be negative");
  if (resources.nano_cpus > 0 && (resources.cpu_period > 0 || resources.cpu_quota != 0)) {
    return InvalidArgument("Conflicting options: Nano CPUs and CPU Period cannot both be set");
  }
  if (resources.cpu_shares > 0) cpu["shares"] = resources.cpu_shares;
  if (resources.nano_cpus > 0) {
    cpu["period"] = kNanoCpuPeriod;
    // 10^9 nano CPUs are one CPU: a whole period. Less than the kernel's millisecond would be refused by it.
    cpu["quota"] = std::max<int64_t>(resources.nano_cpus / 10'000, 1000);
  }
  if (resources.cpu_period > 0) cpu["period"] = resources.cpu_period;
  if (resources.cpu_quota != 0) cpu["quota"] = resources.cpu_quota;
  if (!resources.cpuset_cpus.empty()) cpu["cpus"] = resources.cpuset_cpus;
  if (!resources.cpuset_mems.empty()) cpu["mems"] = resources.cpuset_mems;
  STASIS_RETURN_IF_ERROR(CheckText("CpusetCpus", resources.cpuset_cpus));
  STASIS_RETURN_IF_ERROR(CheckText("CpusetMems", resources.cpuset_mems));
  return cpu;
}

StatusOr<Json> BuildDeviceRules(const SpecOptions& options) {
  if (options.process.privileged) return Json::array({{{"allow", true}, {"access", "rwm"}}});
  Json rules = DefaultDeviceRules();
  for (const DeviceOptions& device : options.devices) {
    if (device.access.empty() || device.access.find_first_not_of("rwm") != std::string::npos) {
      return InvalidArgument("invalid device cgroup permissions: " + device.access);
    }
    rules.push_back({{"allow", true},
                     {"type", std::string(1, device.type)},
                     {"major", device.major},
                     {"minor", device.minor},
                     {"access", device.access}});
  }
  return rules;
}

StatusOr<Json> BuildDevices(const SpecOptions& options) {
  Json out = Json::array();
  for (const DeviceOptions& device : options.devices) {
    STASIS_RETURN_IF_ERROR(CheckPath("device path", device.path));
    if (device.type != 'c' && device.type != 'b') return InvalidArgument("device type: want c or b");
    out.push_back({{"path", device.path},
                   {"type", std::string(1, device.type)},
                   {"major", device.major},
                   {"minor", device.minor},
                   {"fileMode", device.file_mode},
                   {"uid", device.uid},
                   {"gid", device.gid}});
  }
  return out;
}

StatusOr<Json> BuildResources(const SpecOptions& options) {
  const ResourceOptions& resources = options.resources;
  Json out = Json::object();
  STASIS_ASSIGN_OR_RETURN(out["devices"], BuildDeviceRules(options));
  STASIS_ASSIGN_OR_RETURN(Json memory, BuildMemory(resources));
  if (!memory.empty()) out["memory"] = std::move(memory);
  STASIS_ASSIGN_OR_RETURN(Json cpu, BuildCpu(resources));
  if (!cpu.empty()) out["cpu"] = std::move(cpu);
  if (resources.pids_limit > 0) out["pids"] = {{"limit", resources.pids_limit}};
  if (resources.blkio_weight != 0) {
    if (resources.blkio_weight < 10 || resources.blkio_weight > 1000) {
      return InvalidArgument("Range of blkio weight is from 10 to 1000");
    }
    out["blockIO"] = {{"weight", resources.blkio_weight}};
  }
  return out;
}

StatusOr<Json> BuildSeccomp(const SpecOptions& options, const HostLimits& host, const Json& process) {
  if (options.seccomp == SeccompMode::kUnconfined) return Json(nullptr);
  if (options.seccomp == SeccompMode::kDefault && options.process.privileged) return Json(nullptr);
  SeccompContext context = {NativeArchitecture(),
                            process["capabilities"]["bounding"].get<std::vector<std::string>>(),
                            host.kernel_major, host.kernel_minor};
  bool custom = options.seccomp == SeccompMode::kCustom;
  return ConvertSeccompProfile(custom ? options.seccomp_profile : DefaultSeccompProfile(), context);
}

// A bind that shares with the host, or gets mounts from it, needs a root that lets them through.
std::string RootPropagation(const std::vector<MountOptions>& mounts) {
  std::string out = "rprivate";
  for (const MountOptions& mount : mounts) {
    if (mount.type != "bind") continue;
    if (HasOption(mount.options, "shared") || HasOption(mount.options, "rshared")) return "shared";
    if (HasOption(mount.options, "slave") || HasOption(mount.options, "rslave")) out = "rslave";
  }
  return out;
}

StatusOr<Json> BuildLinux(const SpecOptions& options, const HostLimits& host, const Json& process) {
  Json out = Json::object();
  STASIS_ASSIGN_OR_RETURN(out["namespaces"], BuildNamespaces(options));
  STASIS_ASSIGN_OR_RETURN(out["resources"], BuildResources(options));
  STASIS_ASSIGN_OR_RETURN(Json devices, BuildDevices(options));
  if (!devices.empty()) out["devices"] = std::move(devices);
  if (!options.cgroup_path.empty()) out["cgroupsPath"] = options.cgroup_path;
  if (!options.sysctls.empty()) out["sysctl"] = options.sysctls;
  out["rootfsPropagation"] = RootPropagation(options.mounts);
  bool privileged = options.process.privileged;
  const std::vector<std::string> none;
  std::vector<std::string> masked = options.masked_paths.value_or(privileged ? none : DefaultMaskedPaths());
  std::vector<std::string> read_only =
      options.readonly_paths.value_or(privileged ? none : DefaultReadonlyPaths());
  for (const std::string& path : masked) STASIS_RETURN_IF_ERROR(CheckPath("MaskedPaths", path));
  for (const std::string& path : read_only) STASIS_RETURN_IF_ERROR(CheckPath("ReadonlyPaths", path));
  if (!masked.empty()) out["maskedPaths"] = std::move(masked);
  if (!read_only.empty()) out["readonlyPaths"] = std::move(read_only);
  STASIS_ASSIGN_OR_RETURN(Json seccomp, BuildSeccomp(options, host, process));
  if (!seccomp.is_null()) out["seccomp"] = std::move(seccomp);
  return out;
}

}  // namespace

StatusOr<Json> BuildSpec(const SpecOptions& options, const HostLimits& host) {
  STASIS_RETURN_IF_ERROR(CheckPath("root", options.root_path));
  STASIS_RETURN_IF_ERROR(CheckText("hostname", options.hostname));
  STASIS_RETURN_IF_ERROR(CheckText("domainname", options.domainname));
  STASIS_ASSIGN_OR_RETURN(Json process, BuildProcess(options.process, host));
  Json spec = {{"ociVersion", kSpecVersion},
               {"root", {{"path", options.root_path}, {"readonly", options.readonly_root}}}};
  // Names live in the container's own uts namespace; in the host's they would rename the host.
  if (options.uts.kind == NamespaceOptions::Kind::kPrivate) {
    if (!options.hostname.empty()) spec["hostname"] = options.hostname;
    if (!options.domainname.empty()) spec["domainname"] = options.domainname;
  }
  STASIS_ASSIGN_OR_RETURN(spec["mounts"], BuildMounts(options));
  STASIS_ASSIGN_OR_RETURN(spec["linux"], BuildLinux(options, host, process));
  if (!options.annotations.empty()) spec["annotations"] = options.annotations;
  spec["process"] = std::move(process);
  return spec;
}

}  // namespace stasis::oci
