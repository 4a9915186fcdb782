#include "engine/restore_check.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <vector>

#include "base/log.h"
#include "network/network_namespaces.h"

namespace stasis::engine {
namespace {

std::set<std::string> AsSet(const std::vector<std::string>& list) { return {list.begin(), list.end()}; }

std::set<std::string> Mounts(const ContainerRecord& record) {
  std::set<std::string> mounts;
  for (const ContainerMount& mount : record.mounts)
    mounts.insert(mount.destination + (mount.read_write ? "" : ":ro") + " (" + mount.type + ")");
  return mounts;
}

// own, host, or another container's; what cannot be read is not the same as anything.
std::string NetworkKind(const ContainerRecord& record) {
  const StatusOr<network::Mode> mode = network::ParseMode(record.host_config.network_mode);
  return mode.ok() ? std::to_string(static_cast<int>(mode->kind)) : record.host_config.network_mode;
}

}  // namespace

Status CheckSameOptions(const ContainerRecord& saved, const ContainerRecord& target) {
  std::vector<std::string> different;
  std::vector<std::string> mounts;
  const std::set<std::string> before = Mounts(saved), now = Mounts(target);
  std::set_symmetric_difference(before.begin(), before.end(), now.begin(), now.end(),
                                std::back_inserter(mounts));
  std::transform(mounts.begin(), mounts.end(), std::back_inserter(different),
                 [](const std::string& mount) { return "the mount " + Printable(mount); });
  const auto compare = [&](const char* option, const auto& a, const auto& b) {
    if (a != b) different.push_back(option);
  };
  const backend::HostConfig& a = saved.host_config;
  const backend::HostConfig& b = target.host_config;
  compare("--tty", saved.config.tty, target.config.tty);
  compare("--user", saved.config.user, target.config.user);
  compare("--read-only", a.readonly_rootfs, b.readonly_rootfs);
  compare("--privileged", a.privileged, b.privileged);
  compare("--cap-add", AsSet(a.cap_add), AsSet(b.cap_add));
  compare("--cap-drop", AsSet(a.cap_drop), AsSet(b.cap_drop));
  compare("--security-opt", AsSet(a.security_opt), AsSet(b.security_opt));
  compare("--init", a.init.value_or(false), b.init.value_or(false));
  compare("--network", NetworkKind(saved), NetworkKind(target));
  compare("--ipc", a.ipc_mode == "host", b.ipc_mode == "host");
  compare("--pid", a.pid_mode == "host", b.pid_mode == "host");
  compare("--uts", a.uts_mode == "host", b.uts_mode == "host");
  if (different.empty()) return absl::OkStatus();
  std::string list;
  for (const std::string& one : different) list += (list.empty() ? "" : ", ") + one;
  return FailedPrecondition(
      "container " + target.name +
      " was not created with the options of the container that the checkpoint was made of: " + list);
}

}  // namespace stasis::engine
