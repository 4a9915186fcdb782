#include "network/network_namespaces.h"

#include "linux/files.h"
#include "linux/mounts.h"
#include "linux/namespaces.h"

namespace stasis::network {
namespace {

constexpr std::string_view kContainerPrefix = "container:";

}  // namespace

StatusOr<Mode> ParseMode(std::string_view network_mode) {
  Mode mode;
  if (network_mode.empty() || network_mode == "default" || network_mode == "bridge" ||
      network_mode == "none") {
    return mode;
  }
  if (network_mode == "host") {
    mode.kind = ModeKind::kHost;
    return mode;
  }
  if (network_mode.substr(0, kContainerPrefix.size()) == kContainerPrefix) {
    mode.kind = ModeKind::kContainer;
    mode.container = std::string(network_mode.substr(kContainerPrefix.size()));
    if (mode.container.empty()) {
      return InvalidArgument("invalid network mode: invalid container format container:<name|id>");
    }
    return mode;
  }
  return InvalidArgument(
      "network " + std::string(network_mode) +
      " not found: networks of one's own are not supported yet; use none, host or container:NAME");
}

StatusOr<NetworkNamespaces> NetworkNamespaces::Open(const std::string& directory) {
  STASIS_RETURN_IF_ERROR(MakeDirectories(directory));
  return NetworkNamespaces(directory);
}

std::string NetworkNamespaces::PathOf(const ContainerId& container) const {
  return directory_ + "/" + container.str();
}

Status NetworkNamespaces::Ensure(const ContainerId& container,
                                 const std::map<std::string, std::string>& sysctls) {
  const std::string path = PathOf(container);
  if (Exists(path)) {
    STASIS_ASSIGN_OR_RETURN(const std::vector<MountEntry> mounts, ReadMounts());
    for (const MountEntry& mount : mounts) {
      if (mount.mount_point == path) return {};
    }
    // A file without its mount is what a reboot, or a crash between the two, leaves.
    STASIS_RETURN_IF_ERROR(RemoveNetworkNamespace(path));
  }
  Status status = MakeNetworkNamespace(path);
  if (status.ok()) {
    status = WriteNetworkSysctls(path, sysctls);
    if (!status.ok()) RemoveNetworkNamespace(path).IgnoreError();
  }
  return Annotate(status, "network namespace of container " + container.str());
}

Status NetworkNamespaces::Remove(const ContainerId& container) {
  return RemoveNetworkNamespace(PathOf(container));
}

StatusOr<std::vector<ContainerId>> NetworkNamespaces::List() const {
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(directory_));
  std::vector<ContainerId> containers;
  for (const std::string& name : names) {
    StatusOr<ContainerId> id = ContainerId::Parse(name);
    if (id.ok()) containers.push_back(*std::move(id));
  }
  return containers;
}

}  // namespace stasis::network
