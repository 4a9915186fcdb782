#include "layer/look.h"

#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>
#include <utility>
#include <vector>

#include "linux/files.h"

namespace stasis::layer {
namespace {

constexpr size_t kMaxAttribute = 65536;  // XATTR_SIZE_MAX
constexpr size_t kMaxTarget = 4096;      // PATH_MAX

// What overlayfs itself keeps of a directory, without what it finds out again.
bool IsKept(std::string_view attribute) {
  constexpr std::string_view kOverlay = "trusted.overlay.";
  return !attribute.starts_with(kOverlay) || attribute == "trusted.overlay.opaque" ||
         attribute == "trusted.overlay.redirect";
}

class Walker {
 public:
  Walker(std::string_view purpose, const Visit& visit) : purpose_(purpose), visit_(visit) {}

  Status Take(int directory, const std::string& name, const std::string& path, int depth) const {
    Entry entry;
    entry.path = path;
    STASIS_ASSIGN_OR_RETURN(const bool there, Look(directory, name, &entry));
    if (!there) return absl::OkStatus();
    const bool is_directory = S_ISDIR(entry.mode);
    STASIS_ASSIGN_OR_RETURN(const bool enter, visit_(directory, name, std::move(entry)));
    return is_directory && enter ? Enter(directory, name, path, depth + 1) : absl::OkStatus();
  }

 private:
  Status Enter(int parent, const std::string& name, const std::string& path, int depth) const {
    if (depth > kMaxDirectories) {
      return Internal("the container's directories are nested too deep to be " + std::string(purpose_));
    }
    const auto directory = OpenFileAt(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (HasGone(GetErrno(directory.status()))) return absl::OkStatus();
    if (!directory.ok()) return directory.status();
    STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(directory->get()));
    for (const std::string& child : names) {
      STASIS_RETURN_IF_ERROR(Take(directory->get(), child, path == "." ? child : path + "/" + child, depth));
    }
    return absl::OkStatus();
  }

  const std::string_view purpose_;
  const Visit& visit_;
};

}  // namespace

bool HasGone(int error) {
  return error == ENOENT || error == ELOOP || error == ENOTDIR || error == ENXIO || error == ESTALE;
}

StatusOr<std::map<std::string, std::string>> ReadAttributes(int directory, const std::string& name) {
  std::map<std::string, std::string> attributes;
  auto file = OpenFileAt(directory, name, O_PATH | O_NOFOLLOW);
  if (HasGone(GetErrno(file.status()))) return attributes;
  if (!file.ok()) return file.status();
  // By way of /proc, since O_PATH has no f-calls; of a link itself that would follow it.
  const std::string path = "/proc/self/fd/" + std::to_string(file->get());
  std::string names(kMaxAttribute, '\0');
  const ssize_t size = ::listxattr(path.c_str(), names.data(), names.size());
  if (size < 0 && (errno == ENOTSUP || HasGone(errno))) return attributes;
  if (size < 0) return ErrnoError(errno, "list the attributes of " + name);
  std::string value(kMaxAttribute, '\0');
  for (size_t at = 0; at < static_cast<size_t>(size);) {
    const std::string attribute = names.c_str() + at;
    at += attribute.size() + 1;
    if (!IsKept(attribute)) continue;
    const ssize_t got = ::getxattr(path.c_str(), attribute.c_str(), value.data(), value.size());
    if (got >= 0) attributes[attribute] = value.substr(0, static_cast<size_t>(got));
  }
  return attributes;
}

StatusOr<bool> Look(int directory, const std::string& name, Entry* entry) {
  struct stat info;
  if (::fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (HasGone(errno)) return false;
    return ErrnoError(errno, "stat " + entry->path);
  }
  entry->mode = info.st_mode;
  entry->user = info.st_uid;
  entry->group = info.st_gid;
  entry->modified = info.st_mtim;
  entry->changed = info.st_ctim;
  entry->inode = info.st_ino;
  entry->device = info.st_rdev;
  if (S_ISREG(info.st_mode)) entry->content.size = static_cast<uint64_t>(info.st_size);
  if (!S_ISLNK(info.st_mode)) return true;
  std::string target(kMaxTarget, '\0');
  const ssize_t got = ::readlinkat(directory, name.c_str(), target.data(), target.size());
  if (got < 0 && (HasGone(errno) || errno == EINVAL)) return false;
  if (got < 0) return ErrnoError(errno, "readlink " + entry->path);
  entry->target = target.substr(0, static_cast<size_t>(got));
  return true;
}

StatusOr<UniqueFd> OpenRegular(int directory, const std::string& name, uint64_t* size) {
  // A device may have come in its place, whose opening alone does something to the host.
  STASIS_ASSIGN_OR_RETURN(const UniqueFd found, OpenFileAt(directory, name, O_PATH | O_NOFOLLOW));
  struct stat info;
  if (::fstat(found.get(), &info) != 0 || !S_ISREG(info.st_mode)) return ErrnoError(ENXIO, "open " + name);
  *size = static_cast<uint64_t>(info.st_size);
  return OpenFile("/proc/self/fd/" + std::to_string(found.get()), O_RDONLY | O_NONBLOCK);
}

Status WalkLayer(int directory, std::string_view purpose, const Visit& visit) {
  return Walker(purpose, visit).Take(directory, ".", ".", 0);
}

}  // namespace stasis::layer
