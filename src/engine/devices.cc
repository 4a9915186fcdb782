#include "engine/devices.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <filesystem>

namespace stasis::engine {
namespace {

constexpr std::array<std::string_view, 4> kOwnDirectories = {"/dev/pts", "/dev/shm", "/dev/fd",
                                                             "/dev/mqueue"};
constexpr std::array<std::string_view, 8> kOwnNodes = {"/dev/null",    "/dev/zero",    "/dev/full",
                                                       "/dev/random",  "/dev/urandom", "/dev/tty",
                                                       "/dev/console", "/dev/ptmx"};

template <typename Range>
bool Contains(const Range& range, const std::string& path) {
  return std::find(range.begin(), range.end(), path) != range.end();
}

}  // namespace

StatusOr<oci::DeviceOptions> HostDevice(const backend::DeviceRequest& request) {
  const std::string what =
      "error gathering device information while adding custom device \"" + request.path_on_host + "\"";
  struct stat info {};
  if (::stat(request.path_on_host.c_str(), &info) != 0) return ErrnoError(errno, what);
  if (!S_ISCHR(info.st_mode) && !S_ISBLK(info.st_mode)) return InvalidArgument(what + ": not a device node");
  oci::DeviceOptions device;
  device.path = request.path_in_container.empty() ? request.path_on_host : request.path_in_container;
  device.type = S_ISCHR(info.st_mode) ? 'c' : 'b';
  device.major = major(info.st_rdev);
  device.minor = minor(info.st_rdev);
  device.file_mode = info.st_mode & 0777;
  device.uid = info.st_uid;
  device.gid = info.st_gid;
  if (!request.permissions.empty()) device.access = request.permissions;
  return device;
}

std::vector<oci::DeviceOptions> AllHostDevices() {
  std::vector<oci::DeviceOptions> devices;
  std::error_code error;
  std::filesystem::recursive_directory_iterator entry(
      "/dev", std::filesystem::directory_options::skip_permission_denied, error);
  for (; !error && entry != std::filesystem::recursive_directory_iterator(); entry.increment(error)) {
    const std::string path = entry->path().string();
    std::error_code gone;
    if (entry->is_symlink(gone) || Contains(kOwnNodes, path)) continue;
    if (Contains(kOwnDirectories, path)) {
      entry.disable_recursion_pending();
      continue;
    }
    StatusOr<oci::DeviceOptions> device = HostDevice({path, path, "rwm"});
    if (device.ok()) devices.push_back(*std::move(device));
  }
  return devices;
}

}  // namespace stasis::engine
