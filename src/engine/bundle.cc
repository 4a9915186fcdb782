#include "engine/bundle.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "engine/devices.h"
#include "engine/leftovers.h"
#include "engine/resolv_conf.h"
#include "engine/security_options.h"
#include "image/root_user.h"
#include "linux/files.h"
#include "linux/mounts.h"

namespace stasis::engine {
namespace {

constexpr char kInitPath[] = "/sbin/docker-init";
// Statically linked ones, which run in any image.
constexpr std::array<const char*, 5> kInitPrograms = {"/usr/libexec/docker/docker-init",
                                                      "/usr/bin/docker-init", "/usr/bin/tini-static",
                                                      "/usr/libexec/podman/catatonit", "/usr/bin/catatonit"};

StatusOr<std::string> FindInit() {
  for (const char* program : kInitPrograms) {
    // As any bind's source: the real path.
    if (StatusOr<std::string> real = RealPath(program); real.ok()) return real;
  }
  return FailedPrecondition(
      "--init: this machine has no docker-init, tini-static or catatonit; install tini");
}

bool SharesHostNetwork(const BundlePlan& plan) { return plan.network_namespace.empty(); }

std::string HostsText(const BundlePlan& plan) {
  std::string text;
  if (SharesHostNetwork(plan)) {
    text = ReadFile("/etc/hosts").value_or(std::string());
  } else {
    text =
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n"
        "ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";
    absl::StrAppend(&text, "127.0.1.1\t", plan.record->config.hostname, "\n");
  }
  for (const std::string& entry : plan.record->host_config.extra_hosts) {
    const size_t separator = entry.find_first_of(":=");
    if (separator == std::string::npos) continue;
    absl::StrAppend(&text, entry.substr(separator + 1), "\t", entry.substr(0, separator), "\n");
  }
  return text;
}

std::string ResolvConfText(const BundlePlan& plan) {
  const bool own = !SharesHostNetwork(plan);
  return MakeResolvConf(ReadHostResolvConf(own), plan.record->host_config, own);
}

// A container that joins another's network namespace has that one's files.
Status WriteEtcFiles(const BundlePlan& plan) {
  if (plan.joined) return {};
  const ContainerId& id = plan.record->id;
  const std::array<std::pair<std::string, std::string>, 3> files = {
      {{plan.paths->Hostname(id), plan.record->config.hostname + "\n"},
       {plan.paths->Hosts(id), HostsText(plan)},
       {plan.paths->ResolvConf(id), ResolvConfText(plan)}}};
  for (const auto& [path, text] : files) {
    if (plan.restore && Exists(path)) continue;
    STASIS_RETURN_IF_ERROR(WriteFileAtomically(path, text, 0644));
  }
  return {};
}

Status AddMounts(const BundlePlan& plan, oci::SpecOptions* spec) {
  const ContainerRecord& record = *plan.record;
  const ContainerId& owner = plan.joined ? *plan.joined : record.id;
  const std::array<std::pair<const char*, std::string>, 3> etc = {
      {{"/etc/resolv.conf", plan.paths->ResolvConf(owner)},
       {"/etc/hostname", plan.paths->Hostname(owner)},
       {"/etc/hosts", plan.paths->Hosts(owner)}}};
  for (const auto& [destination, source] : etc) {
    const bool replaced =
        std::any_of(record.mounts.begin(), record.mounts.end(),
                    [&, &path = destination](const auto& mount) { return mount.destination == path; });
    if (!replaced) spec->mounts.push_back({source, destination, "bind", {"rbind", "rprivate"}});
  }
  for (const ContainerMount& mount : record.mounts) {
    if (mount.create_source) {
      STASIS_RETURN_IF_ERROR(Annotate(Exists(mount.source) ? Status() : MakeDirectories(mount.source, 0755),
                                      "bind " + mount.source));
    }
    std::string source = mount.source;
    // What the kernel will show as mounted: runc opens a bind's source at a restore without following links,
    // and CRIU compares.
    if (mount.type == "bind") {
      StatusOr<std::string> real = RealPath(source);
      if (!real.ok()) return Annotate(real.status(), "bind " + source);
      source = *std::move(real);
    }
    spec->mounts.push_back({std::move(source), mount.destination, mount.type, mount.options});
  }
  return {};
}

oci::ResourceOptions Resources(const backend::HostConfig& host) {
  oci::ResourceOptions resources;
  resources.memory = host.memory;
  resources.memory_swap = host.memory_swap;
  resources.memory_reservation = host.memory_reservation;
  resources.nano_cpus = host.nano_cpus;
  resources.cpu_shares = static_cast<uint64_t>(host.cpu_shares);
  resources.cpu_period = static_cast<uint64_t>(host.cpu_period);
  resources.cpu_quota = host.cpu_quota;
  resources.cpuset_cpus = host.cpuset_cpus;
  resources.cpuset_mems = host.cpuset_mems;
  resources.pids_limit = host.pids_limit.value_or(0);
  resources.oom_kill_disable = host.oom_kill_disable.value_or(false);
  if (host.memory_swappiness) resources.memory_swappiness = static_cast<uint64_t>(*host.memory_swappiness);
  return resources;
}

void SetNamespaces(const BundlePlan& plan, oci::SpecOptions* spec) {
  using Kind = oci::NamespaceOptions::Kind;
  const backend::HostConfig& host = plan.record->host_config;
  spec->network = SharesHostNetwork(plan) ? oci::NamespaceOptions{Kind::kHost, ""}
                                          : oci::NamespaceOptions{Kind::kPath, plan.network_namespace};
  if (host.pid_mode == "host") spec->pid.kind = Kind::kHost;
  if (host.ipc_mode == "host") spec->ipc.kind = Kind::kHost;
  if (host.uts_mode == "host") {
    spec->uts.kind = Kind::kHost;
  } else {
    spec->hostname = plan.record->config.hostname;
    spec->domainname = plan.record->config.domainname;
  }
  if (plan.host->cgroup_v2 && !host.privileged) spec->cgroup.kind = Kind::kPrivate;
}

StatusOr<bool> HostHasQueuesMounted() {
  STASIS_ASSIGN_OR_RETURN(const std::vector<MountEntry> mounts, ReadMounts());
  return std::any_of(mounts.begin(), mounts.end(), [](const MountEntry& mount) {
    return mount.mount_point == "/dev/mqueue" && mount.type == "mqueue";
  });
}

StatusOr<oci::ProcessOptions> PlanProcess(const ContainerRecord& record, const std::string& root,
                                          const oci::User& user) {
  STASIS_ASSIGN_OR_RETURN(const SecurityOptions security,
                          ParseSecurityOptions(record.host_config.security_opt));
  oci::ProcessOptions process;
  process.uid = user.uid;
  process.gid = user.gid;
  process.additional_gids = user.additional_gids;
  for (const std::string& group : record.host_config.group_add) {
    STASIS_ASSIGN_OR_RETURN(const uint32_t gid, image::ResolveGroupInRoot(root, group));
    process.additional_gids.push_back(gid);
  }
  process.cap_add = record.host_config.cap_add;
  process.cap_drop = record.host_config.cap_drop;
  process.privileged = record.host_config.privileged;
  process.no_new_privileges = security.no_new_privileges;
  process.oom_score_adj = record.host_config.oom_score_adj;
  for (const backend::Ulimit& limit : record.host_config.ulimits) {
    process.rlimits.push_back(
        {limit.name, static_cast<uint64_t>(limit.soft), static_cast<uint64_t>(limit.hard)});
  }
  process.env =
      oci::ContainerEnvironment(record.config.env, record.config.hostname, record.config.tty, user.home);
  process.cwd = record.config.working_dir.empty() ? "/" : record.config.working_dir;
  process.terminal = record.config.tty;
  process.console_height = record.host_config.console_size.height;
  process.console_width = record.host_config.console_size.width;
  return process;
}

StatusOr<oci::SpecOptions> PlanSpec(const BundlePlan& plan) {
  const ContainerRecord& record = *plan.record;
  oci::SpecOptions spec;
  spec.root_path = plan.root;
  spec.readonly_root = record.host_config.readonly_rootfs;
  STASIS_ASSIGN_OR_RETURN(const oci::User user, image::ResolveUserInRoot(plan.root, record.config.user));
  STASIS_ASSIGN_OR_RETURN(spec.process, PlanProcess(record, plan.root, user));
  spec.process.args = record.argv;
  STASIS_RETURN_IF_ERROR(AddMounts(plan, &spec));
  if (record.host_config.init.value_or(false)) {
    STASIS_ASSIGN_OR_RETURN(const std::string init, FindInit());
    spec.mounts.push_back({init, kInitPath, "bind", {"rbind", "ro", "rprivate"}});
    spec.process.args.insert(spec.process.args.begin(), {kInitPath, "--"});
  }
  STASIS_ASSIGN_OR_RETURN(const SecurityOptions security,
                          ParseSecurityOptions(record.host_config.security_opt));
  spec.seccomp = security.seccomp;
  spec.seccomp_profile = security.seccomp_profile;
  spec.masked_paths = record.host_config.masked_paths;
  spec.readonly_paths = record.host_config.readonly_paths;
  if (security.unmask_paths) {
    spec.masked_paths.emplace();
    spec.readonly_paths.emplace();
  }
  spec.no_shm = record.host_config.ipc_mode == "none";
  spec.annotations = record.host_config.annotations;
  if (record.host_config.shm_size > 0) spec.shm_size = record.host_config.shm_size;
  SetNamespaces(plan, &spec);
  if (spec.ipc.kind == oci::NamespaceOptions::Kind::kHost) {
    if (!Exists("/dev/shm")) return Internal("/dev/shm is not mounted, but must be for --ipc=host");
    STASIS_ASSIGN_OR_RETURN(spec.bind_mqueue, HostHasQueuesMounted());
  }
  spec.resources = Resources(record.host_config);
  if (record.host_config.privileged) spec.devices = AllHostDevices();
  for (const backend::DeviceRequest& request : record.host_config.devices) {
    STASIS_ASSIGN_OR_RETURN(oci::DeviceOptions device, HostDevice(request));
    spec.devices.push_back(std::move(device));
  }
  spec.sysctls = record.host_config.sysctls;
  spec.cgroup_path = CgroupPath(record.id);
  return spec;
}

}  // namespace

Status WriteBundle(const BundlePlan& plan) {
  STASIS_RETURN_IF_ERROR(WriteEtcFiles(plan));
  STASIS_ASSIGN_OR_RETURN(const oci::SpecOptions options, PlanSpec(plan));
  STASIS_ASSIGN_OR_RETURN(const Json spec, oci::BuildSpec(options, plan.host->limits));
  const std::string bundle = plan.paths->Bundle(plan.record->id);
  STASIS_RETURN_IF_ERROR(MakeDirectories(bundle));
  return WriteFileAtomically(bundle + "/config.json", DumpJson(spec), 0600);
}

StatusOr<oci::ProcessOptions> PlanExec(const ContainerRecord& record, const std::string& root,
                                       const ExecPlan& plan) {
  STASIS_ASSIGN_OR_RETURN(const oci::User user,
                          image::ResolveUserInRoot(root, plan.user.empty() ? record.config.user : plan.user));
  STASIS_ASSIGN_OR_RETURN(oci::ProcessOptions process, PlanProcess(record, root, user));
  process.args = plan.args;
  process.terminal = plan.terminal;
  process.privileged = process.privileged || plan.privileged;
  std::vector<std::string> env = record.config.env;
  env.insert(env.end(), plan.env.begin(), plan.env.end());
  process.env = oci::ContainerEnvironment(env, record.config.hostname, plan.terminal, user.home);
  if (!plan.working_dir.empty()) process.cwd = plan.working_dir;
  return process;
}

}  // namespace stasis::engine
