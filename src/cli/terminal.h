// The terminal of the user: its mode, its size, and the signals that concern a session on it.
#pragma once

#include <termios.h>

#include <signal.h>
#include <optional>

#include "base/status.h"
#include "linux/unique_fd.h"

namespace stasis::cli {

bool IsTerminal(int fd);

struct WindowSize {
  unsigned width = 0;
  unsigned height = 0;
};
// Of the terminal at `fd`; nothing where there is none.
std::optional<WindowSize> GetWindowSize(int fd);

// Puts a terminal into raw mode (cfmakeraw(3)) and back at the end of its life.
class RawTerminal {
 public:
  static StatusOr<RawTerminal> Enter(int fd);
  RawTerminal(RawTerminal&& other) noexcept;
  ~RawTerminal();

 private:
  RawTerminal(int fd, const termios& before) : fd_(fd), before_(before) {}
  int fd_;
  termios before_;
};

// Holds back the signals that a session must see (SIGWINCH) or act on before it ends (SIGINT, SIGTERM and
// others), and makes them readable; the mask is as before at the end of its life. SIGPIPE is among them, so
// that a write into a closed pipe is an error and not an end that leaves the terminal raw. The process must
// have one thread.
class HeldSignals {
 public:
  static StatusOr<HeldSignals> Hold();
  HeldSignals(HeldSignals&& other) noexcept;
  ~HeldSignals();
  int fd() const { return fd_.get(); }
  // The next signal, or 0.
  int Take() const;

 private:
  HeldSignals(UniqueFd fd, const sigset_t& before) : fd_(std::move(fd)), before_(before) {}
  UniqueFd fd_;
  sigset_t before_;
};

}  // namespace stasis::cli
