#include "engine/restore_check.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <set>
#include <vector>

#include "base/log.h"
#include "engine/security_options.h"
#include "network/network_namespaces.h"
#include "oci/spec_defaults.h"

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

// "busybox:latest (1a2b3c4d5e6f)"
std::string ImageText(const ContainerRecord& record) {
  constexpr size_t kShort = 12;
  const std::string hex = record.image_id.substr(record.image_id.find(':') + 1);
  return Printable(record.config.image) + " (" + Printable(hex.substr(0, kShort)) + ")";
}

// The host's, one's own without /dev/shm, or one's own: whether others may join it decides nothing.
std::string IpcKind(const backend::HostConfig& host) {
  return host.ipc_mode == "host" || host.ipc_mode == "none" ? host.ipc_mode : "private";
}

// Files and directories that are mounted over. Records of older engines do not say, and mean the defaults.
std::set<std::string> Masked(const backend::HostConfig& host) {
  const StatusOr<SecurityOptions> security = ParseSecurityOptions(host.security_opt);
  if (security.ok() && security->unmask_paths) return {};
  std::set<std::string> paths;
  for (const auto& [given, defaults] : {std::pair(host.masked_paths, oci::DefaultMaskedPaths()),
                                        std::pair(host.readonly_paths, oci::DefaultReadonlyPaths())}) {
    const std::vector<std::string> none;
    const std::vector<std::string> list = given.value_or(host.privileged ? none : defaults);
    paths.insert(list.begin(), list.end());
  }
  return paths;
}

std::vector<std::string> DifferentOptions(const ContainerRecord& saved, const ContainerRecord& target) {
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
  compare("--ipc", IpcKind(a), IpcKind(b));
  if (a.privileged == b.privileged) compare("MaskedPaths and ReadonlyPaths", Masked(a), Masked(b));
  compare("--pid", a.pid_mode == "host", b.pid_mode == "host");
  compare("--uts", a.uts_mode == "host", b.uts_mode == "host");
  if (saved.image_id != target.image_id) {
    different.push_back("the image: it was " + ImageText(saved) + ", the container's is " +
                        ImageText(target));
  }
  return different;
}

// "4.2.1" as numbers.
std::vector<int> VersionNumbers(const std::string& version) {
  std::vector<int> numbers;
  for (size_t at = 0; at < version.size();) {
    int number = 0;
    const auto [end, error] = std::from_chars(version.data() + at, version.data() + version.size(), number);
    if (error != std::errc()) break;
    numbers.push_back(number);
    at = static_cast<size_t>(end - version.data()) + 1;
  }
  return numbers;
}

std::vector<std::string> MissingOfMachine(const Manifest& manifest, const Machine& machine) {
  std::vector<std::string> missing;
  if (!manifest.architecture.empty() && manifest.architecture != machine.architecture) {
    missing.push_back("the architecture " + Printable(manifest.architecture));
    return missing;
  }
  const std::set<std::string> features = AsSet(machine.cpu_features);
  for (const std::string& feature : manifest.cpu_features) {
    if (!features.contains(feature)) missing.push_back("the processor's " + Printable(feature));
  }
  if (!machine.criu_version.empty() &&
      VersionNumbers(machine.criu_version) < VersionNumbers(manifest.criu_version))
    missing.push_back("CRIU " + Printable(manifest.criu_version) + " (it has " + machine.criu_version + ")");
  return missing;
}

std::string Join(const std::vector<std::string>& list) {
  std::string text;
  for (const std::string& one : list) text += (text.empty() ? "" : ", ") + one;
  return text;
}

}  // namespace

Status CheckRestore(const Manifest& manifest, const std::optional<ContainerRecord>& saved,
                    const ContainerRecord& target, const Machine& machine) {
  const std::vector<std::string> different =
      saved ? DifferentOptions(*saved, target) : std::vector<std::string>();
  const std::vector<std::string> missing = MissingOfMachine(manifest, machine);
  std::string why;
  if (!different.empty()) {
    why = "container " + target.name +
          " was not created with the options of the container that the checkpoint was made of: " +
          Join(different);
  }
  if (!missing.empty()) {
    why += (why.empty() ? "" : "; and ") +
           ("this machine lacks what the checkpoint's programs may use: " + Join(missing));
  }
  return why.empty() ? absl::OkStatus() : FailedPrecondition(why);
}

}  // namespace stasis::engine
