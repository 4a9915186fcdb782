#include "linux/regular_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "linux/files.h"

namespace stasis {
namespace {

StatusOr<UniqueFd> Open(int directory, const std::string& name, int flags, mode_t mode) {
  auto fd = OpenFileAt(directory, name, flags | O_NONBLOCK | O_NOCTTY, mode);
  struct stat found;
  if (fd.ok() && ::fstat(fd->get(), &found) != 0) return ErrnoError(errno, "stat " + name);
  // ENXIO: a socket, or a FIFO that nobody reads. EISDIR: a directory that is to be written.
  const int error = GetErrno(fd.status());
  if (error == ENXIO || error == EISDIR || (fd.ok() && !S_ISREG(found.st_mode)))
    return FailedPrecondition("open " + name + ": it is not a regular file");
  return fd;
}

}  // namespace

StatusOr<UniqueFd> OpenRegularFile(const std::string& path, int flags, mode_t mode) {
  return OpenRegularFileAt(AT_FDCWD, path, flags, mode);
}

StatusOr<UniqueFd> OpenRegularFileAt(int directory, const std::string& name, int flags, mode_t mode) {
  return Open(directory, name, flags | O_NOFOLLOW, mode);
}

StatusOr<UniqueFd> OpenRegularFileOrLinkAt(int directory, const std::string& name) {
  return Open(directory, name, O_RDONLY, 0);
}

}  // namespace stasis
