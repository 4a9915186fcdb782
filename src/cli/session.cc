#include "cli/session.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "base/detach_keys.h"
#include "base/frames.h"
#include "linux/files.h"

namespace stasis::cli {
namespace {

constexpr int kSignalsThatEnd = 3;

class Session {
 public:
  Session(HijackedStream stream, const SessionOptions& options, const HeldSignals& signals)
      : socket_(std::move(stream.socket)),
        first_bytes_(std::move(stream.first_bytes)),
        options_(options),
        signals_(signals),
        stdin_open_(options.use_stdin),
        detachable_(options.terminal && IsTerminal(0)) {}

  StatusOr<SessionEnd> Run();

 private:
  Status Show(std::string_view bytes);
  Status ReadSocket();
  Status ReadStdin();
  Status SendTyped();
  void ReportSize();
  void HandleSignals();
  bool Finished() const { return ended_ || (!stream_open_ && exit_seen_); }

  UniqueFd socket_;
  std::string first_bytes_;
  const SessionOptions& options_;
  const HeldSignals& signals_;
  FrameDemultiplexer frames_;
  DetachKeys detach_keys_;
  std::string typed_;  // from stdin, not yet sent
  bool stdin_open_;
  bool shut_down_ = false;
  bool detachable_;
  bool stream_open_ = true;
  bool exit_seen_ = false;
  bool ended_ = false;
  SessionEnd end_;
  int ending_signals_ = 0;
};

Status Session::Show(std::string_view bytes) {
  if (options_.terminal) return WriteAll(STDOUT_FILENO, bytes);
  return frames_.Feed(bytes, [](bool is_error, std::string_view payload) {
    return WriteAll(is_error ? STDERR_FILENO : STDOUT_FILENO, payload);
  });
}

Status Session::ReadSocket() {
  std::array<char, 32768> piece;
  const ssize_t size = ::recv(socket_.get(), piece.data(), piece.size(), MSG_DONTWAIT);
  if (size > 0) return Show({piece.data(), static_cast<size_t>(size)});
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return absl::OkStatus();
  if (size < 0 && errno != ECONNRESET) return ErrnoError(errno, "read from the daemon");
  stream_open_ = false;
  return absl::OkStatus();
}

Status Session::ReadStdin() {
  std::array<char, 32768> piece;
  const ssize_t size = ::read(STDIN_FILENO, piece.data(), piece.size());
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return absl::OkStatus();
  if (size < 0 && errno != EIO) return ErrnoError(errno, "read stdin");
  if (size <= 0) {
    stdin_open_ = false;
    return absl::OkStatus();
  }
  const std::string_view bytes(piece.data(), static_cast<size_t>(size));
  if (!detachable_) {
    typed_ += bytes;
    return absl::OkStatus();
  }
  typed_ += detach_keys_.Take(bytes);
  if (detach_keys_.pressed()) {
    ended_ = true;
    end_.reason = SessionEnd::Reason::kDetached;
  }
  return absl::OkStatus();
}

Status Session::SendTyped() {
  while (!typed_.empty()) {
    const ssize_t size = ::send(socket_.get(), typed_.data(), typed_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) return absl::OkStatus();
    if (size < 0) {
      // The process reads no more; what it writes is still shown.
      typed_.clear();
      stdin_open_ = false;
      shut_down_ = true;
      return absl::OkStatus();
    }
    typed_.erase(0, static_cast<size_t>(size));
  }
  if (options_.use_stdin && !stdin_open_ && !shut_down_) {
    ::shutdown(socket_.get(), SHUT_WR);
    shut_down_ = true;
  }
  return absl::OkStatus();
}

void Session::ReportSize() {
  const auto size = GetWindowSize(STDOUT_FILENO);
  if (options_.terminal && options_.on_resize && size) options_.on_resize(*size);
}

void Session::HandleSignals() {
  while (const int signal = signals_.Take()) {
    if (signal == SIGPIPE) continue;  // the write that caused it has failed
    if (signal == SIGWINCH) {
      ReportSize();
      continue;
    }
    if ((signal == SIGINT || signal == SIGTERM) && ++ending_signals_ >= kSignalsThatEnd) ended_ = true;
    const bool ends = signal == SIGINT || signal == SIGTERM || signal == SIGHUP || signal == SIGQUIT;
    if (options_.on_signal) {
      if (!ended_) options_.on_signal(signal);
    } else if (ends) {
      ended_ = true;
    }
    if (ended_) {
      end_ = {SessionEnd::Reason::kSignal, signal};
      return;
    }
  }
}

StatusOr<SessionEnd> Session::Run() {
  STASIS_RETURN_IF_ERROR(Show(first_bytes_));
  ReportSize();
  exit_seen_ = options_.exit == nullptr || options_.exit->HasBytes();
  while (!Finished()) {
    STASIS_RETURN_IF_ERROR(SendTyped());
    const short socket_events = static_cast<short>(POLLIN | (typed_.empty() ? 0 : POLLOUT));
    const bool want_stdin = stdin_open_ && stream_open_ && typed_.empty();
    std::array<pollfd, 4> fds = {{{signals_.fd(), POLLIN, 0},
                                  {stream_open_ ? socket_.get() : -1, socket_events, 0},
                                  {want_stdin ? STDIN_FILENO : -1, POLLIN, 0},
                                  {exit_seen_ ? -1 : options_.exit->fd(), POLLIN, 0}}};
    if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) return ErrnoError(errno, "poll");
    if (fds[0].revents) HandleSignals();
    if (fds[1].revents & (POLLIN | POLLHUP | POLLERR)) {
      STASIS_RETURN_IF_ERROR(ReadSocket());
    }
    if (fds[2].revents) {
      STASIS_RETURN_IF_ERROR(ReadStdin());
    }
    if (fds[3].revents) exit_seen_ = true;
  }
  return end_;
}

}  // namespace

StatusOr<SessionEnd> RunSession(HijackedStream stream, const SessionOptions& options,
                                const HeldSignals& signals) {
  std::optional<RawTerminal> raw;
  if (options.terminal && options.use_stdin && IsTerminal(STDIN_FILENO)) {
    STASIS_ASSIGN_OR_RETURN(RawTerminal entered, RawTerminal::Enter(STDIN_FILENO));
    raw.emplace(std::move(entered));
  }
  return Session(std::move(stream), options, signals).Run();
}

}  // namespace stasis::cli
