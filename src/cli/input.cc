#include "cli/input.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "cli/terminal.h"
#include "linux/files.h"

namespace stasis::cli {

StatusOr<UniqueFd> OpenInput(const std::string& path) {
  if (path != "-") return OpenFile(path, O_RDONLY);
  if (IsTerminal(STDIN_FILENO))
    return InvalidArgument("requested to read from stdin, but stdin is a terminal");
  UniqueFd copy(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3));
  if (!copy.valid()) return ErrnoError(errno, "stdin");
  return copy;
}

std::function<StatusOr<size_t>(char* out, size_t size)> ReadFrom(const UniqueFd& file) {
  return [fd = file.get()](char* out, size_t size) -> StatusOr<size_t> {
    for (;;) {
      const ssize_t got = ::read(fd, out, size);
      if (got >= 0) return static_cast<size_t>(got);
      if (errno != EINTR) return ErrnoError(errno, "read the archive");
    }
  };
}

}  // namespace stasis::cli
