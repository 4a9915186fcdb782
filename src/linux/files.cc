#include "linux/files.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <utility>

#include "linux/random_hex.h"
#include "linux/regular_file.h"

namespace stasis {
namespace {

// "a/b/c" as its directory "a/b/" and "c".
std::pair<std::string, std::string> SplitLast(const std::string& path) {
  size_t slash = path.rfind('/');
  if (slash == path.npos) return {".", path};
  return {path.substr(0, slash + 1), path.substr(slash + 1)};
}

Status Sync(int fd, const std::string& name) {
  if (::fsync(fd) != 0) return ErrnoError(errno, "fsync " + name);
  return absl::OkStatus();
}

Status WriteAside(int directory, const std::string& aside, std::string_view bytes, mode_t mode,
                  bool durable) {
  STASIS_ASSIGN_OR_RETURN(UniqueFd fd,
                          OpenFileAt(directory, aside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  if (::fchmod(fd.get(), mode) != 0) return ErrnoError(errno, "fchmod");
  STASIS_RETURN_IF_ERROR(WriteAll(fd.get(), bytes));
  return durable ? Sync(fd.get(), aside) : absl::OkStatus();
}

Status Replace(int directory, const std::string& name, std::string_view bytes, mode_t mode, bool durable) {
  std::string aside = kAsidePrefix + RandomHex(8);
  Status status = WriteAside(directory, aside, bytes, mode, durable);
  if (status.ok() && ::renameat(directory, aside.c_str(), directory, name.c_str()) != 0) {
    status = ErrnoError(errno, "rename");
  }
  if (!status.ok()) {
    ::unlinkat(directory, aside.c_str(), 0);
    return Annotate(status, "write " + name);
  }
  return durable ? Annotate(SyncDirectory(directory), "write " + name) : absl::OkStatus();
}

Status ReplaceAtPath(const std::string& path, std::string_view bytes, mode_t mode, bool durable) {
  auto [parent, name] = SplitLast(path);
  STASIS_ASSIGN_OR_RETURN(UniqueFd directory, OpenDirectory(parent));
  return Annotate(Replace(directory.get(), name, bytes, mode, durable), parent);
}

}  // namespace

StatusOr<UniqueFd> OpenFile(const std::string& path, int flags, mode_t mode) {
  return OpenFileAt(AT_FDCWD, path, flags, mode);
}

StatusOr<UniqueFd> OpenFileAt(int directory, const std::string& name, int flags, mode_t mode) {
  int fd;
  do {
    fd = ::openat(directory, name.c_str(), flags | O_CLOEXEC, mode);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return ErrnoError(errno, "open " + name);
  return UniqueFd(fd);
}

StatusOr<UniqueFd> OpenDirectory(const std::string& path) { return OpenDirectoryAt(AT_FDCWD, path); }

StatusOr<UniqueFd> OpenDirectoryAt(int directory, const std::string& name) {
  return OpenFileAt(directory, name, O_RDONLY | O_DIRECTORY);
}

StatusOr<std::string> ReadFile(const std::string& path, size_t limit) {
  return ReadFileAt(AT_FDCWD, path, limit);
}

StatusOr<std::string> ReadFileAt(int directory, const std::string& name, size_t limit) {
  STASIS_ASSIGN_OR_RETURN(const UniqueFd fd, OpenRegularFileOrLinkAt(directory, name));
  auto bytes = ReadAll(fd.get(), limit);
  if (!bytes.ok()) return Annotate(bytes.status(), name);
  return bytes;
}

StatusOr<std::string> ReadAll(int fd, size_t limit) {
  std::string out;
  char buffer[16384];
  for (;;) {
    ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoError(errno, "read");
    if (got == 0) return out;
    if (static_cast<size_t>(got) > limit - out.size()) {
      return MakeError(StatusCode::kOutOfRange, "larger than " + std::to_string(limit) + " bytes");
    }
    out.append(buffer, static_cast<size_t>(got));
  }
}

Status WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t wrote = ::write(fd, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return ErrnoError(wrote == 0 ? EIO : errno, "write");
    bytes.remove_prefix(static_cast<size_t>(wrote));
  }
  return absl::OkStatus();
}

Status WriteAllAt(int fd, std::string_view bytes, uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (wrote < 0 && errno == EINTR) continue;
    // Nothing is what the memory of a process that has ended takes.
    if (wrote <= 0) return ErrnoError(wrote == 0 ? EIO : errno, "pwrite");
    bytes.remove_prefix(static_cast<size_t>(wrote));
    offset += static_cast<uint64_t>(wrote);
  }
  return absl::OkStatus();
}

Status WriteControlFile(const std::string& path, std::string_view bytes) {
  STASIS_ASSIGN_OR_RETURN(UniqueFd fd, OpenFile(path, O_WRONLY));
  ssize_t wrote;
  do {
    wrote = ::write(fd.get(), bytes.data(), bytes.size());
  } while (wrote < 0 && errno == EINTR);
  if (wrote < 0) return ErrnoError(errno, "write " + path);
  if (static_cast<size_t>(wrote) != bytes.size()) return Internal("write " + path + ": short write");
  return absl::OkStatus();
}

Status WriteFileDurably(int directory, const std::string& name, std::string_view bytes, mode_t mode) {
  return Replace(directory, name, bytes, mode, /*durable=*/true);
}

Status WriteFileDurably(const std::string& path, std::string_view bytes, mode_t mode) {
  return ReplaceAtPath(path, bytes, mode, /*durable=*/true);
}

Status WriteFileAtomically(const std::string& path, std::string_view bytes, mode_t mode) {
  return ReplaceAtPath(path, bytes, mode, /*durable=*/false);
}

Status PublishByRename(int from_directory, const std::string& from, int to_directory, const std::string& to) {
  int rc = ::renameat2(from_directory, from.c_str(), to_directory, to.c_str(), RENAME_NOREPLACE);
  // NFS and 9p know no such flag. Of directories a plain rename replaces only an empty one.
  struct stat info;
  if (rc != 0 && errno == EINVAL &&
      ::fstatat(from_directory, from.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode)) {
    rc = ::renameat(from_directory, from.c_str(), to_directory, to.c_str());
    if (rc != 0 && errno == ENOTEMPTY) errno = EEXIST;
  }
  if (rc != 0) return ErrnoError(errno, "publish " + from + " as " + to);
  Status synced = SyncDirectory(to_directory);
  if (synced.ok()) synced = SyncDirectory(from_directory);
  if (synced.ok()) return synced;
  // Not durable: not published. Where not even this works, whoever looks finds it whole.
  static_cast<void>(::renameat(to_directory, to.c_str(), from_directory, from.c_str()));
  return synced;
}

Status SyncDirectory(int directory) { return Sync(directory, "directory"); }

Status MakeDirectories(const std::string& path, mode_t mode) {
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    std::string part = path.substr(0, slash);
    if (::mkdir(part.c_str(), mode) != 0 && errno != EEXIST) return ErrnoError(errno, "mkdir " + part);
    if (slash == path.npos) break;
  }
  return OpenFile(path, O_PATH | O_DIRECTORY).status();  // what was there may not be a directory
}

StatusOr<std::string> RealPath(const std::string& path) {
  char resolved[PATH_MAX];
  if (!::realpath(path.c_str(), resolved)) return ErrnoError(errno, "realpath " + path);
  return std::string(resolved);
}

bool Exists(const std::string& path) {
  struct stat found;
  return ::lstat(path.c_str(), &found) == 0;
}

StatusOr<TemporaryDirectory> TemporaryDirectory::Create(const std::string& parent, std::string_view prefix) {
  for (;;) {
    std::string path = parent + "/" + std::string(prefix) + RandomHex(8);
    if (::mkdir(path.c_str(), 0700) == 0) return TemporaryDirectory(std::move(path));
    if (errno != EEXIST) return ErrnoError(errno, "mkdir " + path);
  }
}

TemporaryDirectory::TemporaryDirectory(TemporaryDirectory&& other) noexcept
    : path_(std::exchange(other.path_, {})) {}

TemporaryDirectory& TemporaryDirectory::operator=(TemporaryDirectory&& other) noexcept {
  std::swap(path_, other.path_);
  return *this;
}

TemporaryDirectory::~TemporaryDirectory() {
  if (!path_.empty()) RemoveTree(path_).IgnoreError();
}

std::string TemporaryDirectory::Release() { return std::exchange(path_, {}); }

}  // namespace stasis
