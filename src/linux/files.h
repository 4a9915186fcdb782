// Files and directories: reading with a cap, writing so that a crash leaves old or new and never half, and
// removing trees without following links. All functions take a directory descriptor and a name below it, or a
// path that our own code chose; never a path that a stranger chose (inside_root.h is for those).
//
// Every descriptor they open has O_CLOEXEC. Interrupted calls are retried. Thread-safe.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "linux/unique_fd.h"

namespace stasis {

inline constexpr size_t kMaxReadFile = 64 << 20;

// Files being written aside have names that begin so. One that a crash left over may be removed.
inline constexpr char kAsidePrefix[] = ".aside-";

// open(2) with O_CLOEXEC added.
StatusOr<UniqueFd> OpenFile(const std::string& path, int flags, mode_t mode = 0);
StatusOr<UniqueFd> OpenFileAt(int directory, const std::string& name, int flags, mode_t mode = 0);
// A directory, for use as the first argument of the *At functions.
StatusOr<UniqueFd> OpenDirectory(const std::string& path);
StatusOr<UniqueFd> OpenDirectoryAt(int directory, const std::string& name);

// The whole file. kOutOfRange when it has more than `limit` bytes. Works for files of /proc, whose size is 0.
StatusOr<std::string> ReadFile(const std::string& path, size_t limit = kMaxReadFile);
StatusOr<std::string> ReadFileAt(int directory, const std::string& name, size_t limit = kMaxReadFile);
StatusOr<std::string> ReadAll(int fd, size_t limit = kMaxReadFile);

// Writes all bytes to a descriptor.
Status WriteAll(int fd, std::string_view bytes);
// The same at a place in a file, without moving its position.
Status WriteAllAt(int fd, std::string_view bytes, uint64_t offset);
// Writes to a control file that exists already (cgroups, /proc): one write(2), no durability.
Status WriteControlFile(const std::string& path, std::string_view bytes);

// Makes `name` hold `bytes`: written aside in the same directory, fsynced, renamed, directory fsynced. After
// a crash the old content or the new is there. Nothing is left aside on failure. `mode` is exact, whatever
// the umask.
Status WriteFileDurably(int directory, const std::string& name, std::string_view bytes, mode_t mode = 0600);
Status WriteFileDurably(const std::string& path, std::string_view bytes, mode_t mode = 0600);
// The same without the fsyncs, for state that does not outlive the machine (/run).
Status WriteFileAtomically(const std::string& path, std::string_view bytes, mode_t mode = 0600);

// Renames a finished file or directory into place and makes the name durable. kAlreadyExists when `to` is
// there (renameat2 RENAME_NOREPLACE): nothing is changed.
Status PublishByRename(int from_directory, const std::string& from, int to_directory, const std::string& to);

Status SyncDirectory(int directory);
// fsyncs every regular file and directory below `path`, and `path` itself. Links are not followed, mount
// points not entered.
Status SyncTree(const std::string& path);

// mkdir -p with this mode for what is made new; what exists must be a directory.
Status MakeDirectories(const std::string& path, mode_t mode = 0700);

// Removes a file or a whole tree; not an error when it is not there. Links are removed, never followed; a
// mount point below `path` is an error (kFailedPrecondition), and nothing on it is touched. Any depth works.
Status RemoveTree(const std::string& path);
Status RemoveTreeAt(int directory, const std::string& name);

// Names in a directory, without "." and "..", sorted.
StatusOr<std::vector<std::string>> ListDirectory(const std::string& path);
StatusOr<std::vector<std::string>> ListDirectory(int directory);

// Absolute, without links, "." and ".." (realpath(3)). kNotFound.
StatusOr<std::string> RealPath(const std::string& path);

bool Exists(const std::string& path);  // without following a last link

// Bytes used below `path` (st_blocks * 512), hard links counted once, other file systems left out.
StatusOr<uint64_t> DiskUsage(const std::string& path);

// A directory of a new, unguessable name below `parent`; removed with all in it at the end of its life unless
// released.
class TemporaryDirectory {
 public:
  // "PARENT/PREFIXxxxxxx", mode 0700.
  static StatusOr<TemporaryDirectory> Create(const std::string& parent, std::string_view prefix);
  TemporaryDirectory(TemporaryDirectory&&) noexcept;
  TemporaryDirectory& operator=(TemporaryDirectory&&) noexcept;
  ~TemporaryDirectory();

  const std::string& path() const { return path_; }
  std::string Release();  // the caller owns the directory from now on

 private:
  explicit TemporaryDirectory(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace stasis
