#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <utility>

namespace stasis::cli {

bool IsTerminal(int fd) { return ::isatty(fd) == 1; }

std::optional<WindowSize> GetWindowSize(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) < 0 || size.ws_col == 0 || size.ws_row == 0) return std::nullopt;
  return WindowSize{size.ws_col, size.ws_row};
}

StatusOr<RawTerminal> RawTerminal::Enter(int fd) {
  termios before{};
  if (::tcgetattr(fd, &before) < 0) return ErrnoError(errno, "tcgetattr");
  termios raw = before;
  ::cfmakeraw(&raw);
  if (::tcsetattr(fd, TCSADRAIN, &raw) < 0) return ErrnoError(errno, "tcsetattr");
  return RawTerminal(fd, before);
}

RawTerminal::RawTerminal(RawTerminal&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), before_(other.before_) {}

RawTerminal::~RawTerminal() {
  if (fd_ >= 0) ::tcsetattr(fd_, TCSADRAIN, &before_);
}

StatusOr<HeldSignals> HeldSignals::Hold() {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (int signal : {SIGWINCH, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT, SIGALRM, SIGPIPE})
    ::sigaddset(&signals, signal);
  sigset_t before;
  if (::sigprocmask(SIG_BLOCK, &signals, &before) < 0) return ErrnoError(errno, "sigprocmask");
  UniqueFd fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) {
    const int error = errno;
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    return ErrnoError(error, "signalfd");
  }
  return HeldSignals(std::move(fd), before);
}

HeldSignals::HeldSignals(HeldSignals&& other) noexcept : fd_(std::move(other.fd_)), before_(other.before_) {}

HeldSignals::~HeldSignals() {
  if (!fd_.valid()) return;
  // What came in the meantime and was not taken does not end the program now, in the midst of its way out.
  while (Take() != 0) {
  }
  ::sigprocmask(SIG_SETMASK, &before_, nullptr);
}

int HeldSignals::Take() const {
  signalfd_siginfo info{};
  if (::read(fd_.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info)) return 0;
  return static_cast<int>(info.ssi_signo);
}

}  // namespace stasis::cli
