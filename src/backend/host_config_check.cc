#include "backend/host_config_check.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>

namespace stasis::backend {
namespace {

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

}  // namespace

Status CheckHostConfig(const HostConfig& config) {
  for (const Ulimit& limit : config.ulimits) STASIS_RETURN_IF_ERROR(CheckUlimit(limit));
  for (const DeviceRequest& device : config.devices) STASIS_RETURN_IF_ERROR(CheckDevice(device));
  for (const MountRequest& mount : config.mounts) STASIS_RETURN_IF_ERROR(CheckMount(mount));
  return absl::OkStatus();
}

}  // namespace stasis::backend
