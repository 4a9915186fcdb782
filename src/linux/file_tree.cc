// The functions of files.h and apparent_size.h that read directories and walk trees. A tree may come from a
// container, which may have made it deeper than our stack and our limit of descriptors.
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <set>

#include "linux/apparent_size.h"
#include "linux/files.h"
#include "linux/inside_root.h"
#include "linux/random_hex.h"

namespace stasis {
namespace {

constexpr int kMaxOpenLevels = 64;
constexpr int kRemoveAttempts = 16;

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

// Removes one tree. Below kMaxOpenLevels directories are first moved up to the top, so that neither the stack
// nor the number of descriptors grows with the tree.
class TreeRemover {
 public:
  Status Remove(int parent, const std::string& name, int depth);

 private:
  Status RemoveDirectory(int parent, const std::string& name, int depth);
  Status Empty(UniqueFd directory, int depth);

  int top_ = -1;
};

Status TreeRemover::Remove(int parent, const std::string& name, int depth) {
  if (::unlinkat(parent, name.c_str(), 0) == 0 || errno == ENOENT) return absl::OkStatus();
  if (errno != EISDIR) return ErrnoError(errno, "unlink " + name);
  if (depth < kMaxOpenLevels) return RemoveDirectory(parent, name, depth);
  std::string moved = kAsidePrefix + RandomHex(8);
  if (::renameat(parent, name.c_str(), top_, moved.c_str()) == 0) return absl::OkStatus();
  return ErrnoError(errno, "move up " + name);
}

Status TreeRemover::RemoveDirectory(int parent, const std::string& name, int depth) {
  for (int attempt = 0; attempt < kRemoveAttempts; ++attempt) {
    auto directory = OpenBeneath(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    int error = GetErrno(directory.status());
    if (error == ENOENT) return absl::OkStatus();
    if (error == EXDEV) return FailedPrecondition("remove " + name + ": a mount point");
    if (!directory.ok()) return directory.status();
    STASIS_RETURN_IF_ERROR(Annotate(Empty(*std::move(directory), depth), name));
    if (::unlinkat(parent, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return absl::OkStatus();
    if (errno != ENOTEMPTY) return ErrnoError(errno, "rmdir " + name);
  }
  return FailedPrecondition("remove " + name + ": something keeps filling it");
}

Status TreeRemover::Empty(UniqueFd directory, int depth) {
  std::unique_ptr<DIR, CloseDirectory> stream(::fdopendir(directory.get()));
  if (!stream) return ErrnoError(errno, "fdopendir");
  int fd = directory.release();
  if (depth == 0) top_ = fd;
  // Again until a pass finds nothing: what is removed, or moved up here, while reading may hide or add
  // entries.
  for (bool found = true; found;) {
    found = false;
    ::rewinddir(stream.get());
    while (dirent* entry = ::readdir(stream.get())) {
      std::string name = entry->d_name;
      if (name == "." || name == "..") continue;
      found = true;
      STASIS_RETURN_IF_ERROR(Remove(fd, name, depth + 1));
    }
  }
  return absl::OkStatus();
}

struct TreeVisitor {
  std::function<Status(int parent, const std::string& name, const struct stat&)> file;  // all but directories
  std::function<Status(int directory)> directory;
};

// Visits all below `root` and itself, one descriptor at a time; mounts and what vanishes meanwhile are left
// out.
Status WalkTree(int root, const TreeVisitor& visitor) {
  std::vector<std::string> pending = {"."};
  while (!pending.empty()) {
    std::string path = std::move(pending.back());
    pending.pop_back();
    auto directory = OpenBeneath(root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    int error = GetErrno(directory.status());
    if (error == ENOENT || error == ENOTDIR || error == ELOOP || error == EXDEV) continue;
    if (!directory.ok()) return directory.status();
    STASIS_ASSIGN_OR_RETURN(auto names, ListDirectory(directory->get()));
    for (const std::string& name : names) {
      struct stat found;
      if (::fstatat(directory->get(), name.c_str(), &found, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) continue;
        return ErrnoError(errno, "stat " + path + "/" + name);
      }
      if (S_ISDIR(found.st_mode)) {
        pending.push_back(path + "/" + name);
      } else {
        STASIS_RETURN_IF_ERROR(visitor.file(directory->get(), name, found));
      }
    }
    STASIS_RETURN_IF_ERROR(visitor.directory(directory->get()));
  }
  return absl::OkStatus();
}

Status SyncFile(int parent, const std::string& name) {
  STASIS_ASSIGN_OR_RETURN(UniqueFd fd, OpenFileAt(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  if (::fsync(fd.get()) != 0) return ErrnoError(errno, "fsync " + name);
  return absl::OkStatus();
}

}  // namespace

StatusOr<std::vector<std::string>> ListDirectory(const std::string& path) {
  STASIS_ASSIGN_OR_RETURN(UniqueFd directory, OpenDirectory(path));
  return ListDirectory(directory.get());
}

StatusOr<std::vector<std::string>> ListDirectory(int directory) {
  // A descriptor of its own: fdopendir takes it, and the position in `directory` is shared by its users.
  STASIS_ASSIGN_OR_RETURN(UniqueFd own, OpenDirectoryAt(directory, "."));
  std::unique_ptr<DIR, CloseDirectory> stream(::fdopendir(own.get()));
  if (!stream) return ErrnoError(errno, "fdopendir");
  own.release();
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    dirent* entry = ::readdir(stream.get());
    if (!entry && errno != 0) return ErrnoError(errno, "readdir");
    if (!entry) break;
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

Status RemoveTree(const std::string& path) {
  std::string trimmed = path;
  while (trimmed.size() > 1 && trimmed.back() == '/') trimmed.pop_back();
  STASIS_ASSIGN_OR_RETURN(ParentAndName split, SplitPath(trimmed));
  auto parent = OpenFile(split.parent, O_PATH | O_DIRECTORY);
  if (!parent.ok() && GetErrno(parent.status()) == ENOENT) return absl::OkStatus();
  if (!parent.ok()) return parent.status();
  return Annotate(RemoveTreeAt(parent->get(), split.name), split.parent);
}

Status RemoveTreeAt(int directory, const std::string& name) {
  if (name.find('/') != name.npos || name.empty() || name == "." || name == "..") {
    return InvalidArgument("remove: not a name: " + name);
  }
  return TreeRemover().Remove(directory, name, 0);
}

Status SyncTree(const std::string& path) {
  STASIS_ASSIGN_OR_RETURN(UniqueFd root, OpenFile(path, O_RDONLY | O_NOFOLLOW));
  struct stat found;
  if (::fstat(root.get(), &found) != 0) return ErrnoError(errno, "stat " + path);
  if (!S_ISDIR(found.st_mode))
    return ::fsync(root.get()) == 0 ? absl::OkStatus() : ErrnoError(errno, "fsync " + path);
  TreeVisitor visitor;
  visitor.file = [](int parent, const std::string& name, const struct stat& entry) {
    return S_ISREG(entry.st_mode) ? SyncFile(parent, name) : absl::OkStatus();
  };
  visitor.directory = SyncDirectory;
  return Annotate(WalkTree(root.get(), visitor), "sync " + path);
}

StatusOr<uint64_t> DiskUsage(const std::string& path) {
  constexpr uint64_t kBlock = 512;  // the unit of st_blocks, whatever st_blksize says
  struct stat root_stat;
  if (::lstat(path.c_str(), &root_stat) != 0) return ErrnoError(errno, "stat " + path);
  if (!S_ISDIR(root_stat.st_mode)) return static_cast<uint64_t>(root_stat.st_blocks) * kBlock;
  STASIS_ASSIGN_OR_RETURN(UniqueFd root, OpenDirectory(path));
  uint64_t blocks = 0;
  std::set<ino_t> linked;  // hard links seen
  TreeVisitor visitor;
  visitor.file = [&](int, const std::string&, const struct stat& entry) {
    bool counted = entry.st_nlink > 1 && !linked.insert(entry.st_ino).second;
    if (entry.st_dev == root_stat.st_dev && !counted) blocks += static_cast<uint64_t>(entry.st_blocks);
    return absl::OkStatus();
  };
  visitor.directory = [&](int directory) {
    struct stat entry;
    if (::fstat(directory, &entry) != 0) return ErrnoError(errno, "stat");
    blocks += static_cast<uint64_t>(entry.st_blocks);
    return absl::OkStatus();
  };
  STASIS_RETURN_IF_ERROR(Annotate(WalkTree(root.get(), visitor), "disk usage of " + path));
  return blocks * kBlock;
}

StatusOr<uint64_t> ApparentSize(const std::string& path) {
  STASIS_ASSIGN_OR_RETURN(UniqueFd root, OpenDirectory(path));
  struct stat root_stat;
  if (::fstat(root.get(), &root_stat) != 0) return ErrnoError(errno, "stat " + path);
  uint64_t bytes = 0;
  std::set<ino_t> linked;  // hard links seen
  TreeVisitor visitor;
  visitor.file = [&](int, const std::string&, const struct stat& entry) {
    const bool counted = entry.st_nlink > 1 && !linked.insert(entry.st_ino).second;
    if (entry.st_dev == root_stat.st_dev && !counted) bytes += static_cast<uint64_t>(entry.st_size);
    return absl::OkStatus();
  };
  visitor.directory = [](int) { return absl::OkStatus(); };
  STASIS_RETURN_IF_ERROR(Annotate(WalkTree(root.get(), visitor), "size of " + path));
  return bytes;
}

}  // namespace stasis
