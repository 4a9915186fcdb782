#include "layer/rebuild.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <string>

#include "linux/files.h"
#include "linux/inside_root.h"
#include "store/stream_reader.h"

namespace stasis::layer {
namespace {

bool IsAllowed(std::string_view attribute) {
  return attribute.starts_with("user.") || attribute == "security.capability" ||
         attribute == "system.posix_acl_access" || attribute == "system.posix_acl_default" ||
         attribute == "trusted.overlay.opaque" || attribute == "trusted.overlay.redirect";
}

class Builder {
 public:
  Builder(store::PageFinder* finder, int root, const std::function<void(uint64_t)>& on_bytes,
          const std::stop_token& cancel)
      : streams_(finder), root_(root), on_bytes_(on_bytes), cancel_(cancel) {}

  Status Make(const Entry& entry) {
    if (entry.path == ".") return SetAttributes(root_, ".", entry);
    STASIS_ASSIGN_OR_RETURN(const ParentAndName place, SplitPath(entry.path));
    STASIS_RETURN_IF_ERROR(Enter(place.parent));
    STASIS_RETURN_IF_ERROR(MakeNode(parent_.get(), place.name, entry));
    return entry.hard_link.empty() ? SetAttributes(parent_.get(), place.name, entry) : absl::OkStatus();
  }

  // Last, for every entry that was made in a directory has changed its times.
  Status SetTimes(const Entry& directory) {
    STASIS_ASSIGN_OR_RETURN(const UniqueFd opened,
                            OpenBeneath(root_, directory.path, O_RDONLY | O_DIRECTORY));
    const timespec times[2] = {directory.modified, directory.modified};
    return ::futimens(opened.get(), times) == 0 ? absl::OkStatus()
                                                : ErrnoError(errno, "set the times of " + directory.path);
  }

 private:
  Status Enter(const std::string& parent) {
    if (parent == parent_path_) return absl::OkStatus();
    parent_path_.clear();
    // Links in a layer lead nowhere here: an entry's parents are directories of the layer.
    STASIS_ASSIGN_OR_RETURN(parent_, OpenBeneath(root_, parent, O_RDONLY | O_DIRECTORY));
    parent_path_ = parent;
    return absl::OkStatus();
  }

  Status MakeNode(int parent, const std::string& name, const Entry& entry) {
    if (!entry.hard_link.empty()) return Link(parent, name, entry);
    switch (entry.mode & S_IFMT) {
      case S_IFREG:
        return MakeFile(parent, name, entry);
      case S_IFDIR:
        if (::mkdirat(parent, name.c_str(), 0700) == 0) return absl::OkStatus();
        break;
      case S_IFLNK:
        if (::symlinkat(entry.target.c_str(), parent, name.c_str()) == 0) return absl::OkStatus();
        break;
      default:
        if (::mknodat(parent, name.c_str(), (entry.mode & S_IFMT) | 0600, entry.device) == 0)
          return absl::OkStatus();
    }
    return ErrnoError(errno, "make " + entry.path);
  }

  Status MakeFile(int parent, const std::string& name, const Entry& entry) {
    STASIS_ASSIGN_OR_RETURN(const UniqueFd file,
                            OpenFileAt(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
    return Annotate(streams_.Read(entry.content, file.get(), on_bytes_, cancel_), entry.path);
  }

  Status Link(int parent, const std::string& name, const Entry& entry) {
    STASIS_ASSIGN_OR_RETURN(const UniqueFd target, OpenBeneath(root_, entry.hard_link, O_PATH | O_NOFOLLOW));
    const std::string path = "/proc/self/fd/" + std::to_string(target.get());
    if (::linkat(AT_FDCWD, path.c_str(), parent, name.c_str(), AT_SYMLINK_FOLLOW) == 0)
      return absl::OkStatus();
    return ErrnoError(errno, "link " + entry.path);
  }

  static Status SetAttributes(int parent, const std::string& name, const Entry& entry) {
    if (::fchownat(parent, name.c_str(), entry.user, entry.group, AT_SYMLINK_NOFOLLOW) != 0)
      return ErrnoError(errno, "chown " + entry.path);
    if (!S_ISLNK(entry.mode)) {
      // After chown, which takes set-id bits and capabilities away.
      if (::fchmodat(parent, name.c_str(), entry.mode & 07777, 0) != 0)
        return ErrnoError(errno, "chmod " + entry.path);
      STASIS_RETURN_IF_ERROR(SetExtended(parent, name, entry));
    }
    const timespec times[2] = {entry.modified, entry.modified};
    return ::utimensat(parent, name.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0
               ? absl::OkStatus()
               : ErrnoError(errno, "set the times of " + entry.path);
  }

  static Status SetExtended(int parent, const std::string& name, const Entry& entry) {
    if (entry.attributes.empty()) return absl::OkStatus();
    STASIS_ASSIGN_OR_RETURN(const UniqueFd file, OpenFileAt(parent, name, O_PATH | O_NOFOLLOW));
    const std::string path = "/proc/self/fd/" + std::to_string(file.get());
    for (const auto& [attribute, value] : entry.attributes) {
      if (!IsAllowed(attribute)) continue;
      if (::setxattr(path.c_str(), attribute.c_str(), value.data(), value.size(), 0) != 0)
        return ErrnoError(errno, "set " + attribute + " of " + entry.path);
    }
    return absl::OkStatus();
  }

  store::StreamReader streams_;
  const int root_;
  const std::function<void(uint64_t)>& on_bytes_;
  const std::stop_token& cancel_;
  // The last entry's directory: most entries follow one of the same.
  std::string parent_path_;
  UniqueFd parent_;
};

}  // namespace

Status Rebuild(const std::vector<Entry>& entries, store::PageFinder* finder, int directory,
               const std::function<void(uint64_t)>& on_bytes, const std::stop_token& cancel) {
  Builder builder(finder, directory, on_bytes, cancel);
  for (const Entry& entry : entries) {
    if (cancel.stop_requested()) return Cancelled("the restore was cancelled");
    STASIS_RETURN_IF_ERROR(builder.Make(entry));
  }
  for (const Entry& entry : entries) {
    if (!S_ISDIR(entry.mode)) continue;
    STASIS_RETURN_IF_ERROR(builder.SetTimes(entry));
  }
  return absl::OkStatus();
}

}  // namespace stasis::layer
