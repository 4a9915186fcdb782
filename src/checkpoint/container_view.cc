#include "checkpoint/container_view.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <set>

#include "linux/files.h"
#include "linux/inside_root.h"
#include "linux/mounts.h"
#include "linux/namespaces.h"
#include "linux/proc.h"
#include "protocol/checkpointer.h"

namespace stasis::checkpoint {
namespace {

constexpr size_t kMaxState = 16 << 20;

// Empty: of one that is closed, or whose process has ended.
std::string LinkOf(const std::string& path) { return ReadProcLink(path).value_or(""); }

std::string LinkOf(int fd) { return LinkOf("/proc/self/fd/" + std::to_string(fd)); }

// The elements of an array field, or none.
const Json& ArrayField(const Json& object, const char* field) {
  static const Json kNone = Json::array();
  if (!object.is_object()) return kNone;
  auto found = object.find(field);
  return found != object.end() && found->is_array() ? *found : kNone;
}

std::string TextField(const Json& object, const char* field) {
  if (!object.is_object()) return "";
  auto found = object.find(field);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

bool IsBind(const Json& mount) {
  if (TextField(mount, "type") == "bind") return true;
  for (const Json& option : ArrayField(mount, "options")) {
    if (option == "bind" || option == "rbind") return true;
  }
  return false;
}

// `path` as seen from inside `root` once links are followed; the part that does not exist is kept as written.
StatusOr<std::string> Resolve(int root, const std::string& path) {
  std::string root_path = LinkOf(root);
  std::string existing = path.starts_with('/') ? path : "/" + path;
  std::string missing;
  while (existing.size() > 1) {
    auto opened = OpenInRoot(root, existing, O_PATH);
    if (opened.ok()) {
      std::string resolved = LinkOf(opened->get());
      if (root_path != "/" && resolved.starts_with(root_path)) resolved.erase(0, root_path.size());
      return resolved + missing;
    }
    size_t slash = existing.rfind('/');
    missing = existing.substr(slash) + missing;
    existing.resize(slash);
  }
  return missing.empty() ? "/" : missing;
}

struct NamespaceEntry {
  bool listed = false;
  std::string path;
};

NamespaceEntry FindNamespace(const Json& linux_part, const std::string& type) {
  for (const Json& entry : ArrayField(linux_part, "namespaces")) {
    if (TextField(entry, "type") == type) return {true, TextField(entry, "path")};
  }
  return {};
}

// A namespace given by path is not dumped: runc hands it in again at the restore, under the key of this form.
Status AddNamespaces(const Json& linux_part, ContainerView* view) {
  NamespaceEntry network = FindNamespace(linux_part, "network");
  view->network = !network.listed ? "host" : network.path.empty() ? "dumped" : "own";
  if (!network.path.empty()) {
    STASIS_ASSIGN_OR_RETURN(ino_t inode, NamespaceInode(network.path));
    view->external.push_back("net[" + std::to_string(inode) + "]:extRootNetNS");
  }
  NamespaceEntry pids = FindNamespace(linux_part, "pid");
  if (!pids.path.empty()) {
    STASIS_ASSIGN_OR_RETURN(ino_t inode, NamespaceInode(pids.path));
    view->external.push_back("pid[" + std::to_string(inode) + "]:extRootPidNS");
  }
  return absl::OkStatus();
}

// Files that runc hides are covered by the container's /dev/null; hidden directories by a tmpfs, which CRIU
// saves itself. CRIU binds that /dev/null again as it does any file of the container: named as external
// mounts, as runc does by itself, they would come back as the host's own /dev/null, for the container to
// write to. Only what a restore left so (by an earlier version of ours, or runc alone) stays external.
Status AddMaskedFiles(const Json& linux_part, int container_root, const std::vector<MountEntry>& mounts,
                      ContainerView* view) {
  struct stat devices;
  auto device_directory = OpenInRoot(container_root, "/dev", O_PATH | O_DIRECTORY);
  bool own = device_directory.ok() && ::fstat(device_directory->get(), &devices) == 0;
  for (const Json& masked : ArrayField(linux_part, "maskedPaths")) {
    if (!masked.is_string()) continue;
    std::string path = masked.get<std::string>();
    auto opened = OpenInRoot(container_root, path, O_PATH);
    struct stat info;
    if (!opened.ok() || ::fstat(opened->get(), &info) != 0 || S_ISDIR(info.st_mode)) continue;
    if (!own || info.st_dev != devices.st_dev) {
      view->mounts.push_back({path, "/dev/null"});
      continue;
    }
    for (const MountEntry& mount : mounts) {
      if (mount.mount_point == path && mount.root.ends_with("//deleted")) {
        return FailedPrecondition("the container has removed the /dev/null that covers " + path +
                                  ": a restore could not cover it again");
      }
    }
  }
  return absl::OkStatus();
}

// cgroup v1 without a cgroup namespace: runc binds each hierarchy below the mount point of the specification.
// The shim of the restore says what these are then. With a namespace, and on v2, they are real mounts that
// CRIU knows. Devices are bound only inside user namespaces.
void AddCgroupsAndDevices(const Json& spec, const std::vector<MountEntry>& mounts, ContainerView* view) {
  std::set<std::string> points;
  for (const MountEntry& mount : mounts) points.insert(mount.mount_point);

  const Json linux_part = spec.value("linux", Json::object());
  if (!FindNamespace(linux_part, "cgroup").listed) {
    for (const MountEntry& mount : mounts) {
      if (mount.type != "cgroup") continue;
      std::string hierarchy = mount.mount_point.substr(mount.mount_point.rfind('/') + 1);
      view->mounts.push_back({mount.mount_point, protocol::kOwnCgroupMount + hierarchy});
    }
  }
  for (const Json& device : ArrayField(linux_part, "devices")) {
    std::string path = TextField(device, "path");
    if (points.contains(path)) view->mounts.push_back({path, path});
  }
}

// runc notes at the init's start what its standard streams are: later the init may have others there.
std::vector<std::string> StdioDescriptors(pid_t init, const std::string& runtime_state) {
  std::vector<std::string> descriptors;
  if (auto text = ReadFile(runtime_state, kMaxState); text.ok()) {
    if (auto state = ParseJson(*text); state.ok()) {
      JsonReader reader(*state);
      reader.Get("external_descriptors", &descriptors);
      if (reader.status().ok() && !descriptors.empty()) return descriptors;
    }
  }
  for (int fd = 0; fd <= 2; ++fd) {
    descriptors.push_back(LinkOf(ProcPath(init, "fd/" + std::to_string(fd))));
  }
  return descriptors;
}

// The root directory as the process sees it.
StatusOr<UniqueFd> OpenRootOf(pid_t process) {
  StatusOr<UniqueFd> root = OpenFile(ProcPath(process, "root"), O_PATH | O_DIRECTORY);
  // While another thread executes a program the first one has let go of its directories, as ReadMounts sees
  // too.
  if (!root.ok() && GetErrno(root.status()) == ENOENT && Exists(ProcPath(process, "stat")))
    return Unavailable("process " + std::to_string(process) + " is just ending, or executes itself");
  return root;
}

}  // namespace

StatusOr<std::vector<std::string>> BindDestinations(const Json& spec, int root) {
  std::vector<std::string> destinations;
  for (const Json& mount : ArrayField(spec, "mounts")) {
    if (!IsBind(mount)) continue;
    STASIS_ASSIGN_OR_RETURN(std::string destination, Resolve(root, TextField(mount, "destination")));
    destinations.push_back(std::move(destination));
  }
  return destinations;
}

Status CheckBelowBinds(const std::vector<std::string>& binds, const std::vector<MountEntry>& mounts) {
  const auto root = std::find_if(mounts.begin(), mounts.end(),
                                 [](const MountEntry& mount) { return mount.mount_point == "/"; });
  for (const MountEntry& mount : mounts) {
    const auto bind = std::find_if(binds.begin(), binds.end(), [&](const std::string& destination) {
      return mount.mount_point.starts_with(destination + "/");
    });
    if (bind == binds.end()) continue;
    const std::string where = "the bind at " + *bind + " takes along ";
    const std::string way_out = " (" + mount.mount_point + "), which CRIU cannot " +
                                (mount.type == "nsfs" ? "save" : "mount again") +
                                ": bind it without what is mounted below it (bind-nonrecursive)";
    if (mount.type == "nsfs") return FailedPrecondition(where + "a pinned namespace" + way_out);
    // Its layers are named from a directory that only whoever mounted it was in.
    const bool of_engine =
        mount.type == "overlay" && mount.super_options.find("lowerdir=l/") != std::string::npos;
    if (of_engine && (root == mounts.end() || mount.device != root->device))
      return FailedPrecondition(where + "the root of another container" + way_out);
  }
  return absl::OkStatus();
}

std::string RuntimeRoot(const std::string& shim_directory) {
  std::string root;
  if (auto text = ReadFile(shim_directory + "/" + protocol::kShimConfigFile); text.ok()) {
    if (auto json = ParseJson(*text); json.ok()) JsonReader(*json).Get("runtime_root", &root);
  }
  return root.empty() ? "/run/runc" : root;
}

StatusOr<ContainerView> ReadContainerView(const std::string& bundle, pid_t init,
                                          const std::string& runtime_state) {
  STASIS_ASSIGN_OR_RETURN(std::string text, ReadFile(bundle + "/config.json"));
  auto parsed = ParseJson(text);
  if (!parsed.ok()) return Annotate(parsed.status(), "config.json of the bundle");
  const Json& spec = *parsed;
  if (!spec.is_object()) return InvalidArgument("config.json of the bundle: want an object");

  ContainerView view;
  view.root = TextField(spec.value("root", Json::object()), "path");
  if (!view.root.starts_with('/')) view.root = bundle + "/" + view.root;
  STASIS_ASSIGN_OR_RETURN(UniqueFd root, OpenFile(view.root, O_PATH | O_DIRECTORY));
  STASIS_ASSIGN_OR_RETURN(UniqueFd container_root, OpenRootOf(init));

  const Json linux_part = spec.value("linux", Json::object());
  STASIS_RETURN_IF_ERROR(AddNamespaces(linux_part, &view));
  STASIS_ASSIGN_OR_RETURN(std::vector<std::string> binds, BindDestinations(spec, root.get()));
  for (const std::string& destination : binds) view.mounts.push_back({destination, destination});
  STASIS_ASSIGN_OR_RETURN(std::vector<MountEntry> mounts, ReadMounts(std::to_string(init)));
  STASIS_RETURN_IF_ERROR(CheckBelowBinds(binds, mounts));
  AddCgroupsAndDevices(spec, mounts, &view);
  STASIS_RETURN_IF_ERROR(AddMaskedFiles(linux_part, container_root.get(), mounts, &view));
  view.stdio_descriptors = StdioDescriptors(init, runtime_state);
  return view;
}

}  // namespace stasis::checkpoint
