#include "engine/mount_request.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "linux/files.h"

namespace stasis::engine {
namespace {

constexpr std::array<std::string_view, 6> kPropagations = {"private", "rprivate", "slave",
                                                           "rslave",  "shared",   "rshared"};
constexpr std::array<std::string_view, 7> kIgnoredOptions = {"z",      "Z",         "nocopy", "consistent",
                                                             "cached", "delegated", ""};
constexpr std::array<std::string_view, 32> kTmpfsFlags = {
    "ro",         "rw",          "exec",       "noexec",      "suid",          "nosuid",   "dev",
    "nodev",      "sync",        "async",      "dirsync",     "atime",         "noatime",  "diratime",
    "nodiratime", "relatime",    "norelatime", "strictatime", "nostrictatime", "defaults", "bind",
    "rbind",      "private",     "rprivate",   "shared",      "rshared",       "slave",    "rslave",
    "unbindable", "runbindable", "mand",       "nomand"};
constexpr std::array<std::string_view, 7> kTmpfsValues = {"size",      "mode",      "uid", "gid",
                                                          "nr_inodes", "nr_blocks", "mpol"};

template <typename Range>
bool Contains(const Range& range, std::string_view value) {
  return std::find(range.begin(), range.end(), value) != range.end();
}

Status CheckDestination(const std::string& destination, const std::string& whole) {
  if (destination.empty() || destination.find('\0') != std::string::npos) {
    return InvalidArgument("invalid volume specification: '" + whole + "'");
  }
  if (destination[0] != '/') {
    return InvalidArgument("invalid volume specification: '" + whole + "': invalid mount path: '" +
                           destination + "' mount path must be absolute");
  }
  if (CleanPath(destination) == "/") {
    return InvalidArgument("invalid volume specification: '" + whole +
                           "': invalid specification: destination can't be '/'");
  }
  return {};
}

Status NamedVolume(const std::string& name) {
  return Unimplemented("named volumes are not supported yet: \"" + name +
                       "\"; use the absolute path of a directory");
}

bool IsAtOrBelow(const std::string& path, const std::string& directory) {
  return path == directory || directory == "/" || path.starts_with(directory + "/");
}

// `propagation` empty: the user said nothing.
Status SettlePropagation(const std::string& propagation, const MountRules& rules, ContainerMount* mount) {
  const std::string source = RealPath(mount->source).value_or(mount->source);
  const bool holds_ours = !rules.engine_root.empty() &&
                          (IsAtOrBelow(source, rules.engine_root) || IsAtOrBelow(rules.engine_root, source));
  mount->propagation = !propagation.empty() ? propagation : holds_ours ? "rslave" : "rprivate";
  if (!holds_ours || mount->propagation == "rslave" || mount->propagation == "rshared") return {};
  return InvalidArgument(
      "invalid mount config: must use either propagation mode \"rslave\" or \"rshared\" when mount source is "
      "within the daemon root, daemon root: \"" +
      rules.engine_root + "\", bind mount source: \"" + source + "\", propagation: \"" + propagation + "\"");
}

// The options of the spec. `options` are those of a mount written out; a bind in one line has none.
Status Finish(const backend::MountRequest& options, const MountRules& rules, ContainerMount* mount) {
  if (options.read_only_non_recursive && options.read_only_force_recursive) {
    return InvalidArgument("mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive");
  }
  if (options.read_only_force_recursive && !rules.recursive_read_only) {
    return InvalidArgument("rro is not supported: the kernel is older than 5.12");
  }
  const bool recursive = rules.recursive_read_only && !options.read_only_non_recursive;
  const char* const access = mount->read_write ? "rw" : recursive ? "rro" : "ro";
  mount->options = {options.non_recursive ? "bind" : "rbind", access, mount->propagation};
  return {};
}

StatusOr<ContainerMount> SettleBind(const backend::MountRequest& request, const MountRules& rules) {
  const std::string where = "invalid mount config for type \"bind\": ";
  if (request.source.empty()) return InvalidArgument(where + "field Source must not be empty");
  if (request.source[0] != '/') {
    return InvalidArgument(where + "invalid mount path: '" + request.source +
                           "' mount path must be absolute");
  }
  if (!request.propagation.empty() && !Contains(kPropagations, request.propagation)) {
    return InvalidArgument(where + "invalid propagation mode: " + request.propagation);
  }
  if (!request.create_source && !Exists(CleanPath(request.source))) {
    return InvalidArgument(where + "bind source path does not exist: " + request.source);
  }
  ContainerMount mount{.type = "bind",
                       .source = CleanPath(request.source),
                       .destination = CleanPath(request.target),
                       .read_write = !request.read_only,
                       .create_source = request.create_source};
  STASIS_RETURN_IF_ERROR(SettlePropagation(request.propagation, rules, &mount));
  STASIS_RETURN_IF_ERROR(Finish(request, rules, &mount));
  return mount;
}

StatusOr<ContainerMount> SettleTmpfs(const backend::MountRequest& request) {
  const std::string where = "invalid mount config for type \"tmpfs\": ";
  if (!request.source.empty()) return InvalidArgument(where + "field Source must not be specified");
  if (request.tmpfs_size < 0) return InvalidArgument(where + "field TmpfsOptions.SizeBytes is negative");
  std::string options = request.read_only ? "ro" : "rw";
  if (request.tmpfs_size > 0) absl::StrAppend(&options, ",size=", request.tmpfs_size);
  if (request.tmpfs_mode > 0) {
    std::string octal;
    for (uint32_t mode = request.tmpfs_mode; mode > 0; mode >>= 3) {
      octal.insert(octal.begin(), static_cast<char>('0' + (mode & 7)));
    }
    absl::StrAppend(&options, ",mode=", octal);
  }
  for (const std::vector<std::string>& option : request.tmpfs_options)
    absl::StrAppend(&options, ",", absl::StrJoin(option, "="));
  return ParseTmpfs(request.target, options);
}

}  // namespace

std::string CleanPath(const std::string& path) {
  std::string clean = std::filesystem::path(path).lexically_normal().string();
  if (clean.size() > 1 && clean.back() == '/') clean.pop_back();
  return clean;
}

StatusOr<ContainerMount> ParseBind(const std::string& bind, const MountRules& rules) {
  const std::vector<std::string> parts = absl::StrSplit(bind, ':');
  if (parts.size() < 2 || parts.size() > 3 || parts[0].empty()) {
    return InvalidArgument("invalid volume specification: '" + bind + "'");
  }
  STASIS_RETURN_IF_ERROR(CheckDestination(parts[1], bind));
  if (parts[0][0] != '/') return NamedVolume(parts[0]);
  ContainerMount mount{.type = "bind",
                       .source = CleanPath(parts[0]),
                       .destination = CleanPath(parts[1]),
                       .mode = parts.size() == 3 ? parts[2] : "",
                       .read_write = true,
                       .create_source = true};
  std::string propagation;
  const std::vector<std::string> options = absl::StrSplit(mount.mode, ',');
  for (const std::string& option : options) {
    if (option == "ro" || option == "rw") {
      mount.read_write = option == "rw";
    } else if (Contains(kPropagations, option)) {
      propagation = option;
    } else if (!Contains(kIgnoredOptions, option)) {
      return InvalidArgument("invalid mode: " + mount.mode);
    }
  }
  STASIS_RETURN_IF_ERROR(SettlePropagation(propagation, rules, &mount));
  STASIS_RETURN_IF_ERROR(Finish({}, rules, &mount));
  return mount;
}

StatusOr<ContainerMount> SettleMount(const backend::MountRequest& request, const MountRules& rules) {
  STASIS_RETURN_IF_ERROR(CheckDestination(request.target, request.target));
  if (request.type == "bind") return SettleBind(request, rules);
  if (request.type == "tmpfs") return SettleTmpfs(request);
  if (request.type == "volume" || request.type.empty()) return NamedVolume(request.source);
  return InvalidArgument("invalid mount config: mount type unknown: \"" + request.type + "\"");
}

StatusOr<ContainerMount> ParseTmpfs(const std::string& destination, const std::string& options) {
  STASIS_RETURN_IF_ERROR(CheckDestination(destination, destination));
  ContainerMount mount{.type = "tmpfs",
                       .source = "tmpfs",
                       .destination = CleanPath(destination),
                       .options = {"noexec", "nosuid", "nodev"},
                       .mode = options,
                       .read_write = true};
  const std::vector<std::string> given = absl::StrSplit(options, ',', absl::SkipEmpty());
  for (const std::string& option : given) {
    const size_t equals = option.find('=');
    const bool known = equals == std::string::npos ? Contains(kTmpfsFlags, option)
                                                   : Contains(kTmpfsValues, option.substr(0, equals));
    if (!known) return InvalidArgument("invalid tmpfs option [\"" + option + "\"]");
    if (option == "ro") mount.read_write = false;
    // "exec" after our own "noexec" would leave both in; the later word is the user's.
    std::erase(mount.options, "no" + option);
    mount.options.push_back(option);
  }
  return mount;
}

StatusOr<std::vector<ContainerMount>> SettleMounts(const backend::HostConfig& host_config,
                                                   const MountRules& rules) {
  std::vector<ContainerMount> mounts;
  for (const std::string& bind : host_config.binds) {
    STASIS_ASSIGN_OR_RETURN(ContainerMount mount, ParseBind(bind, rules));
    mounts.push_back(std::move(mount));
  }
  for (const backend::MountRequest& request : host_config.mounts) {
    STASIS_ASSIGN_OR_RETURN(ContainerMount mount, SettleMount(request, rules));
    mounts.push_back(std::move(mount));
  }
  for (const auto& [destination, options] : host_config.tmpfs) {
    STASIS_ASSIGN_OR_RETURN(ContainerMount mount, ParseTmpfs(destination, options));
    mounts.push_back(std::move(mount));
  }
  std::set<std::string> destinations;
  for (const ContainerMount& mount : mounts) {
    if (!destinations.insert(mount.destination).second) {
      return InvalidArgument("Duplicate mount point: " + mount.destination);
    }
  }
  const auto depth = [](const ContainerMount& mount) {
    return std::count(mount.destination.begin(), mount.destination.end(), '/');
  };
  std::stable_sort(mounts.begin(), mounts.end(),
                   [&](const ContainerMount& a, const ContainerMount& b) { return depth(a) < depth(b); });
  return mounts;
}

std::vector<std::string> CheckpointObstacles(const std::vector<ContainerMount>& mounts,
                                             const MountRules& rules) {
  std::vector<std::string> obstacles;
  for (const ContainerMount& mount : mounts) {
    if (mount.type != "bind" || !Contains(mount.options, "rbind")) continue;
    const std::string source = RealPath(mount.source).value_or(mount.source);
    const auto takes_along = [&](const std::string& directory) {
      return !directory.empty() && IsAtOrBelow(directory, source);
    };
    const std::string bind = "The bind of " + mount.source + " at " + mount.destination + " takes along ";
    if (takes_along(rules.network_namespaces)) {
      obstacles.push_back(bind + "the network namespaces that the engine has pinned in " +
                          rules.network_namespaces + ": the container cannot be checkpointed");
    } else if (takes_along(rules.container_roots)) {
      obstacles.push_back(
          bind + "the roots of other containers in " + rules.container_roots +
          ": with any of them the container cannot be checkpointed, since a restore could not "
          "mount them again");
    }
  }
  return obstacles;
}

}  // namespace stasis::engine
