#include "backend/host_config_check.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>

namespace stasis::backend {
namespace {

constexpr int64_t kMinimumMemory = 6 * 1024 * 1024;

std::string Plain(int64_t number) { return std::to_string(number); }

Status CheckMount(const MountRequest& mount) {
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
  return absl::OkStatus();
}

Status CheckUlimit(const Ulimit& limit) {
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
  return absl::OkStatus();
}

Status CheckDevice(const DeviceRequest& device) {
  if (device.permissions.find_first_not_of("rwm") != std::string::npos) {
    return InvalidArgument("invalid device mode: " + device.permissions);
  }
  return absl::OkStatus();
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

}  // namespace

Status CheckHostConfig(const HostConfig& config) {
  STASIS_RETURN_IF_ERROR(CheckResources(config));
  for (const Ulimit& limit : config.ulimits) STASIS_RETURN_IF_ERROR(CheckUlimit(limit));
  for (const DeviceRequest& device : config.devices) STASIS_RETURN_IF_ERROR(CheckDevice(device));
  for (const MountRequest& mount : config.mounts) STASIS_RETURN_IF_ERROR(CheckMount(mount));
  return absl::OkStatus();
}

}  // namespace stasis::backend
