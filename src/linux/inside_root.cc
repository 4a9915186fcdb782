#include "linux/inside_root.h"

#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "linux/files.h"

namespace stasis {
namespace {

// A rename elsewhere on the machine makes the kernel give up a resolution with EAGAIN; one who renames all
// the time must not hold us for ever.
constexpr int kAttempts = 32;

StatusOr<UniqueFd> OpenResolved(int directory, const std::string& path, int flags, mode_t mode,
                                uint64_t resolve) {
  bool creates = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
  open_how how = {};
  how.flags = static_cast<unsigned>(flags | O_CLOEXEC);
  how.mode = creates ? mode : 0;  // openat2 refuses a mode that means nothing
  how.resolve = resolve;
  if (path.find('\0') != path.npos) return InvalidArgument("path with a zero byte");
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    long fd = ::syscall(SYS_openat2, directory, path.c_str(), &how, sizeof how);
    if (fd >= 0) return UniqueFd(static_cast<int>(fd));
    if (errno == ENOSYS) return Unimplemented("openat2: this kernel is older than 5.6");
    if (errno != EAGAIN && errno != EINTR) return ErrnoError(errno, "openat2 " + path);
  }
  return MakeError(StatusCode::kAborted, "openat2 " + path + ": the path kept changing");
}

// One step of mkdir -p: `path`, seen from `root`, is the directory `parent` and one more component, `name`.
// Only a link is looked up from the root again, for it may lead anywhere in it; the kernel's limit of links
// in a path bounds how often that is.
StatusOr<UniqueFd> OpenOrMakeDirectory(int root, int parent, const std::string& path, const std::string& name,
                                       mode_t mode) {
  constexpr int kFlags = O_PATH | O_DIRECTORY | O_NOFOLLOW;
  const bool made = name != ".." && ::mkdirat(parent, name.c_str(), mode) == 0;
  if (name != ".." && !made && errno != EEXIST) return ErrnoError(errno, "mkdir " + path);
  StatusOr<UniqueFd> found = OpenFileAt(parent, name, kFlags);
  if (name == ".." || (!found.ok() && GetErrno(found.status()) == ENOTDIR)) {
    found = OpenInRoot(root, path, O_PATH | O_DIRECTORY);
    if (!found.ok() && GetErrno(found.status()) == ENOENT) {
      return FailedPrecondition("mkdir " + path + ": a link to nothing is there");
    }
  }
  if (found.ok() && made && ::chmod(("/proc/self/fd/" + std::to_string(found->get())).c_str(), mode) != 0) {
    return ErrnoError(errno, "chmod " + path);
  }
  return found;
}

}  // namespace

StatusOr<UniqueFd> OpenInRoot(int root, const std::string& path, int flags, mode_t mode) {
  return OpenResolved(root, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

StatusOr<UniqueFd> OpenBeneath(int directory, const std::string& path, int flags) {
  return OpenResolved(directory, path, flags, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
}

StatusOr<UniqueFd> MakeDirectoriesInRoot(int root, const std::string& path, mode_t mode,
                                         const std::stop_token& cancel) {
  STASIS_ASSIGN_OR_RETURN(UniqueFd current, OpenInRoot(root, ".", O_PATH | O_DIRECTORY));
  for (size_t begin = 0; begin < path.size();) {
    if (cancel.stop_requested()) return Cancelled("cancelled");
    size_t end = std::min(path.find('/', begin), path.size());
    std::string name = path.substr(begin, end - begin);
    begin = end + 1;
    if (name.empty() || name == ".") continue;
    STASIS_ASSIGN_OR_RETURN(current,
                            OpenOrMakeDirectory(root, current.get(), path.substr(0, end), name, mode));
  }
  return current;
}

StatusOr<ParentAndName> SplitPath(const std::string& path) {
  size_t slash = path.rfind('/');
  ParentAndName split;
  split.name = slash == path.npos ? path : path.substr(slash + 1);
  split.parent = slash == path.npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  if (split.name.empty() || split.name == "." || split.name == "..") {
    return InvalidArgument("path does not end in a name: " + path);
  }
  return split;
}

}  // namespace stasis
