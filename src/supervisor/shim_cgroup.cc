#include "supervisor/shim_cgroup.h"

#include <sstream>

#include "linux/files.h"

namespace stasis::supervisor {
namespace {

constexpr char kShimGroup[] = "/stasis-shims";

const MountEntry* FindHierarchy(const std::vector<MountEntry>& mounts, const std::string& controllers) {
  for (const MountEntry& mount : mounts) {
    if (controllers.empty() && mount.type == "cgroup2") return &mount;
    if (!controllers.empty() && mount.type == "cgroup" &&
        mount.super_options.find(controllers) != std::string::npos) {
      return &mount;
    }
  }
  return nullptr;
}

}  // namespace

std::vector<std::string> HierarchiesToLeave(std::string_view own, const std::vector<MountEntry>& mounts) {
  std::vector<std::string> found;
  std::istringstream lines{std::string(own)};
  for (std::string line; std::getline(lines, line);) {  // ID:CONTROLLERS:PATH
    size_t first = line.find(':');
    size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (!controllers.empty() && controllers != "name=systemd") continue;
    if (path == "/" || path.starts_with(kShimGroup)) continue;
    if (const MountEntry* mount = FindHierarchy(mounts, controllers)) found.push_back(mount->mount_point);
  }
  return found;
}

std::vector<std::string> ShimCgroupFiles() {
  StatusOr<std::string> own = ReadFile("/proc/self/cgroup", 1 << 20);
  StatusOr<std::vector<MountEntry>> mounts = ReadMounts();
  if (!own.ok() || !mounts.ok()) return {};
  std::vector<std::string> files;
  for (const std::string& mount_point : HierarchiesToLeave(*own, *mounts)) {
    if (MakeDirectories(mount_point + kShimGroup, 0755).ok()) {
      files.push_back(mount_point + kShimGroup + "/cgroup.procs");
    }
  }
  return files;
}

}  // namespace stasis::supervisor
