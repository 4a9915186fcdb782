#include "image/layer_unpacker.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "linux/files.h"
#include "linux/inside_root.h"

namespace stasis::image {
namespace {

constexpr char kWhiteoutPrefix[] = ".wh.";
constexpr char kAufsPrefix[] = ".wh..wh.";
constexpr char kOpaqueMarker[] = ".wh..wh..opq";
constexpr char kOpaqueAttribute[] = "trusted.overlay.opaque";
constexpr size_t kMaxPath = 4095;  // PATH_MAX without the NUL
constexpr size_t kMaxName = 255;   // NAME_MAX

// The components of an entry's name, "." and empty ones left out. Empty for the layer's root.
StatusOr<std::vector<std::string>> Components(const std::string& path) {
  if (path.empty()) return InvalidArgument("layer: an entry without a name");
  if (path.front() == '/') return InvalidArgument("layer: absolute path refused: " + path);
  if (path.size() > kMaxPath) return InvalidArgument("layer: a name is longer than 4095 bytes");
  std::vector<std::string> parts;
  for (size_t begin = 0; begin < path.size();) {
    size_t end = std::min(path.find('/', begin), path.size());
    std::string part = path.substr(begin, end - begin);
    begin = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") return InvalidArgument("layer: path with .. refused: " + path);
    if (part.size() > kMaxName) return InvalidArgument("layer: a name is longer than 255 bytes: " + path);
    parts.push_back(std::move(part));
  }
  return parts;
}

std::string Join(const std::vector<std::string>& parts, size_t count) {
  std::string path;
  for (size_t i = 0; i < count; ++i) path += (i ? "/" : "") + parts[i];
  return path.empty() ? "." : path;
}

std::string ProcPath(const UniqueFd& fd) { return "/proc/self/fd/" + std::to_string(fd.get()); }

class Unpacker {
 public:
  Unpacker(TarReader& tar, int root, const UnpackLimits& limits, std::stop_token cancel)
      : tar_(tar), root_(root), limits_(limits), cancel_(std::move(cancel)) {}

  StatusOr<uint64_t> Run() {
    TarEntry entry;
    while (true) {
      STASIS_ASSIGN_OR_RETURN(bool more, tar_.Next(&entry));
      if (!more) break;
      if (cancel_.stop_requested()) return Cancelled("cancelled");
      if (++entries_ > limits_.entries) return InvalidArgument("layer: too many entries");
      STASIS_RETURN_IF_ERROR(Take(entry));
    }
    STASIS_RETURN_IF_ERROR(SetDirectoryTimes());
    return bytes_;
  }

 private:
  // Where an entry goes: the directory, opened, and the name in it.
  struct Place {
    int parent;
    std::string path;  // for messages
    std::string name;
  };

  Status Take(const TarEntry& entry) {
    STASIS_ASSIGN_OR_RETURN(std::vector<std::string> parts, Components(entry.path));
    if (parts.empty()) return TakeRoot(entry);
    std::string name = parts.back();
    STASIS_RETURN_IF_ERROR(EnterParent(parts));
    if (name == kOpaqueMarker) return MarkOpaque(ProcPath(parent_), entry.path);
    if (name.starts_with(kAufsPrefix)) return absl::OkStatus();
    Place place = {parent_.get(), entry.path, name};
    if (name.starts_with(kWhiteoutPrefix)) {
      place.name.erase(0, sizeof kWhiteoutPrefix - 1);
      return MakeWhiteout(place);
    }
    if (entry.uid < 0 || entry.uid >= UINT32_MAX || entry.gid < 0 || entry.gid >= UINT32_MAX) {
      return InvalidArgument("layer: owner out of range: " + entry.path);
    }
    if (entry.type == EntryType::kDirectory) return MakeDirectory(entry, place, Join(parts, parts.size()));
    // What replaces a directory or a link may stand in the way to the parent that was remembered.
    STASIS_ASSIGN_OR_RETURN(bool removed, RemoveOld(place));
    STASIS_RETURN_IF_ERROR(Make(entry, place));
    if (removed || entry.type == EntryType::kSymlink) parent_path_.clear();
    return absl::OkStatus();
  }

  Status TakeRoot(const TarEntry& entry) {
    if (entry.type != EntryType::kDirectory) return InvalidArgument("layer: its root is not a directory");
    STASIS_ASSIGN_OR_RETURN(UniqueFd root, OpenInRoot(root_, ".", O_PATH | O_DIRECTORY));
    Place place = {root.get(), entry.path, "."};
    directories_["."] = {entry.accessed, entry.modified};
    return SetAttributes(entry, place);
  }

  // Opens the directory an entry goes to, and makes what is missing on the way (0755, root).
  Status EnterParent(const std::vector<std::string>& parts) {
    std::string path = Join(parts, parts.size() - 1);
    if (path == parent_path_) return absl::OkStatus();
    parent_path_.clear();
    auto found = OpenInRoot(root_, path, O_PATH | O_DIRECTORY);
    if (!found.ok() && GetErrno(found.status()) == ENOENT) {
      found = MakeDirectoriesInRoot(root_, path, 0755, cancel_);
    }
    if (!found.ok()) return Annotate(found.status(), "layer: " + path);
    parent_ = *std::move(found);
    parent_path_ = path;
    return absl::OkStatus();
  }

  Status MarkOpaque(const std::string& directory, const std::string& path) {
    if (::setxattr(directory.c_str(), kOpaqueAttribute, "y", 1, 0) == 0) return absl::OkStatus();
    return ErrnoError(errno, "layer: mark opaque " + path);
  }

  static bool IsWhiteout(const struct stat& info) { return S_ISCHR(info.st_mode) && info.st_rdev == 0; }

  Status MakeWhiteout(const Place& place) {
    if (place.name.empty() || place.name == "." || place.name == "..") {
      return InvalidArgument("layer: a whiteout of nothing: " + place.path);
    }
    if (::mknodat(place.parent, place.name.c_str(), S_IFCHR | 0600, 0) == 0) return absl::OkStatus();
    if (errno != EEXIST) return ErrnoError(errno, "layer: whiteout " + place.path);
    // The layer brings its own: a file covers what is below by itself, a directory has to be told to.
    auto directory = OpenFileAt(place.parent, place.name, O_PATH | O_DIRECTORY | O_NOFOLLOW);
    if (!directory.ok()) return absl::OkStatus();
    return MarkOpaque(ProcPath(*directory), place.path);
  }

  // Returns whether something other than a file was removed.
  StatusOr<bool> RemoveOld(const Place& place) {
    struct stat info;
    if (::fstatat(place.parent, place.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return false;
      return ErrnoError(errno, "layer: stat " + place.path);
    }
    STASIS_RETURN_IF_ERROR(RemoveTreeAt(place.parent, place.name));
    return !S_ISREG(info.st_mode);
  }

  Status MakeDirectory(const TarEntry& entry, const Place& place, const std::string& path) {
    struct stat info;
    bool covers = false;
    if (::fstatat(place.parent, place.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
      covers = IsWhiteout(info);
      if (!S_ISDIR(info.st_mode)) {
        STASIS_RETURN_IF_ERROR(RemoveTreeAt(place.parent, place.name));
      }
      parent_path_.clear();
    }
    int made = ::mkdirat(place.parent, place.name.c_str(), 0700);
    if (made != 0 && errno != EEXIST) return ErrnoError(errno, "layer: mkdir " + place.path);
    if (covers) {
      STASIS_ASSIGN_OR_RETURN(UniqueFd directory, OpenDirectoryAt(place.parent, place.name));
      STASIS_RETURN_IF_ERROR(MarkOpaque(ProcPath(directory), place.path));
    }
    const auto [kept, is_new] =
        directories_.insert_or_assign(path, std::pair(entry.accessed, entry.modified));
    if (is_new) names_ += kept->first.size();
    if (names_ > limits_.names) return InvalidArgument("layer: too many directories");
    return SetAttributes(entry, place);
  }

  Status Make(const TarEntry& entry, const Place& place) {
    mode_t type = 0;
    switch (entry.type) {
      case EntryType::kFile:
        return MakeFile(entry, place);
      case EntryType::kHardlink:
        return MakeHardlink(entry, place);
      case EntryType::kSymlink:
        if (::symlinkat(entry.link_target.c_str(), place.parent, place.name.c_str()) != 0) {
          return ErrnoError(errno, "layer: symlink " + place.path);
        }
        return SetAttributes(entry, place);
      case EntryType::kCharacterDevice:
        type = S_IFCHR;
        break;
      case EntryType::kBlockDevice:
        type = S_IFBLK;
        break;
      case EntryType::kFifo:
        type = S_IFIFO;
        break;
      case EntryType::kDirectory:
      case EntryType::kOther:
        return InvalidArgument("layer: an entry of an unknown type: " + place.path);
    }
    if (entry.device_major >= 1 << 12 || entry.device_minor >= 1 << 20) {
      return InvalidArgument("layer: device number out of range: " + place.path);
    }
    dev_t device = type == S_IFIFO ? 0
                                   : makedev(static_cast<unsigned>(entry.device_major),
                                             static_cast<unsigned>(entry.device_minor));
    if (::mknodat(place.parent, place.name.c_str(), type | 0600, device) != 0) {
      return ErrnoError(errno, "layer: mknod " + place.path);
    }
    return SetAttributes(entry, place);
  }

  Status MakeFile(const TarEntry& entry, const Place& place) {
    STASIS_ASSIGN_OR_RETURN(
        UniqueFd file, OpenFileAt(place.parent, place.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
    uint64_t size = static_cast<uint64_t>(std::max<int64_t>(entry.size, 0));
    if (size > limits_.bytes - bytes_) return InvalidArgument("layer: too large: " + place.path);
    bytes_ += size;
    TarBlock block;
    while (true) {
      STASIS_ASSIGN_OR_RETURN(bool more, tar_.NextBlock(&block));
      if (!more) break;
      if (cancel_.stop_requested()) return Cancelled("cancelled");
      if (block.offset > size || block.bytes.size() > size - block.offset) {
        return InvalidArgument("layer: content beyond its size: " + place.path);
      }
      STASIS_RETURN_IF_ERROR(
          Annotate(WriteAllAt(file.get(), block.bytes, block.offset), "layer: write " + place.path));
    }
    // Also makes the hole at a sparse file's end.
    if (::ftruncate(file.get(), static_cast<off_t>(size)) != 0)
      return ErrnoError(errno, "layer: " + place.path);
    return SetAttributes(entry, place);
  }

  // The target is named from the layer's root, by some tools with a "/" in front.
  Status MakeHardlink(const TarEntry& entry, const Place& place) {
    std::string target = entry.link_target;
    target.erase(0, std::min(target.find_first_not_of('/'), target.size()));
    auto parts = Components(target);
    if (!parts.ok()) return Annotate(parts.status(), "layer: link " + place.path);
    if (parts->empty()) return InvalidArgument("layer: hard link to the root: " + place.path);
    auto parent = OpenInRoot(root_, Join(*parts, parts->size() - 1), O_PATH | O_DIRECTORY);
    if (!parent.ok()) {
      return InvalidArgument("layer: hard link " + place.path +
                             " to a file that is not in the layer: " + target);
    }
    if (::linkat(parent->get(), parts->back().c_str(), place.parent, place.name.c_str(), 0) == 0) {
      return absl::OkStatus();
    }
    if (errno == ENOENT) {
      return InvalidArgument("layer: hard link " + place.path +
                             " to a file that is not in the layer: " + target);
    }
    return ErrnoError(errno, "layer: link " + place.path + " to " + target);
  }

  Status SetAttributes(const TarEntry& entry, const Place& place) {
    const char* name = place.name.c_str();
    if (::fchownat(place.parent, name, static_cast<uid_t>(entry.uid), static_cast<gid_t>(entry.gid),
                   AT_SYMLINK_NOFOLLOW) != 0) {
      return ErrnoError(errno, "layer: chown " + place.path);
    }
    if (entry.type != EntryType::kSymlink) {
      // After chown, which takes set-id bits and capabilities away.
      if (::fchmodat(place.parent, name, entry.mode, 0) != 0) {
        return ErrnoError(errno, "layer: chmod " + place.path);
      }
      STASIS_RETURN_IF_ERROR(SetXattrs(entry, place));
    }
    const timespec times[2] = {entry.accessed, entry.modified};
    if (::utimensat(place.parent, name, times, AT_SYMLINK_NOFOLLOW) != 0) {
      return ErrnoError(errno, "layer: set times of " + place.path);
    }
    return absl::OkStatus();
  }

  Status SetXattrs(const TarEntry& entry, const Place& place) {
    for (const auto& [name, value] : entry.xattrs) {
      if (name != "security.capability" && !name.starts_with("user.")) continue;
      STASIS_ASSIGN_OR_RETURN(UniqueFd file, OpenFileAt(place.parent, place.name, O_PATH | O_NOFOLLOW));
      if (::setxattr(ProcPath(file).c_str(), name.c_str(), value.data(), value.size(), 0) == 0) continue;
      // Device nodes have no user attributes, and some file systems have none at all.
      if (name.starts_with("user.") && (errno == EPERM || errno == ENOTSUP)) continue;
      return ErrnoError(errno, "layer: set " + name + " of " + place.path);
    }
    return absl::OkStatus();
  }

  // Last, for every entry made in a directory has changed its times.
  Status SetDirectoryTimes() {
    for (const auto& [path, times] : directories_) {
      if (cancel_.stop_requested()) return Cancelled("cancelled");
      auto directory = OpenInRoot(root_, path, O_PATH | O_DIRECTORY | O_NOFOLLOW);
      if (!directory.ok()) continue;  // a later entry took its place
      const timespec both[2] = {times.first, times.second};
      if (::utimensat(AT_FDCWD, ProcPath(*directory).c_str(), both, 0) != 0) {
        return ErrnoError(errno, "layer: set times of " + path);
      }
    }
    return absl::OkStatus();
  }

  TarReader& tar_;
  const int root_;
  const UnpackLimits limits_;
  const std::stop_token cancel_;
  uint64_t entries_ = 0;
  uint64_t bytes_ = 0;
  uint64_t names_ = 0;
  // The last entry's directory: most entries follow one of the same.
  std::string parent_path_;
  UniqueFd parent_;
  std::map<std::string, std::pair<timespec, timespec>> directories_;
};

}  // namespace

StatusOr<uint64_t> UnpackLayer(TarReader& tar, int directory, const UnpackLimits& limits,
                               std::stop_token cancel) {
  return Unpacker(tar, directory, limits, std::move(cancel)).Run();
}

}  // namespace stasis::image
