#include "engine/settle_config.h"

#include "engine/mount_request.h"
#include "engine/security_options.h"
#include "oci/spec_defaults.h"

namespace stasis::engine {
namespace {

constexpr size_t kShortId = 12;
constexpr int64_t kDefaultShmSize = 64 << 20;

// A privileged container hides nothing unless it is asked to.
void SettlePaths(bool unmasked, backend::HostConfig* host) {
  if (unmasked) {
    host->masked_paths.emplace();
    host->readonly_paths.emplace();
  }
  if (host->privileged) return;
  if (!host->masked_paths) host->masked_paths = oci::DefaultMaskedPaths();
  if (!host->readonly_paths) host->readonly_paths = oci::DefaultReadonlyPaths();
}

std::vector<std::string> DiscardWhatCgroupsLack(const Host& machine, backend::HostConfig* host) {
  std::vector<std::string> warnings;
  if (machine.cgroup_v2 && host->memory_swappiness) {
    warnings.push_back(
        "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory "
        "swappiness discarded.");
    host->memory_swappiness.reset();
  }
  if (machine.cgroup_v2 && host->oom_kill_disable.value_or(false)) {
    warnings.push_back("Your kernel does not support OomKillDisable. OomKillDisable discarded.");
    host->oom_kill_disable.reset();
  }
  if (host->oom_kill_disable.value_or(false) && host->memory == 0) {
    warnings.push_back(
        "OOM killer is disabled for the container, but no memory limit is set, this can result in the system "
        "running out of resources.");
  }
  return warnings;
}

}  // namespace

std::vector<std::string> SettleConfig(const Host& machine, ContainerRecord* record) {
  backend::ContainerConfig& config = record->config;
  backend::HostConfig& host = record->host_config;
  if (!config.working_dir.empty()) config.working_dir = CleanPath(config.working_dir);
  if (config.hostname.empty()) {
    const bool hosts = host.network_mode == "host" || host.uts_mode == "host";
    config.hostname = hosts ? machine.name : record->id.str().substr(0, kShortId);
  }
  if (host.log_driver.empty()) host.log_driver = "json-file";
  if (host.ipc_mode.empty()) host.ipc_mode = "private";
  if (host.shm_size == 0) host.shm_size = kDefaultShmSize;
  const StatusOr<SecurityOptions> security = ParseSecurityOptions(host.security_opt);
  SettlePaths(security.ok() && security->unmask_paths, &host);
  return DiscardWhatCgroupsLack(machine, &host);
}

}  // namespace stasis::engine
