#include "api/connection.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include "linux/cancel.h"

namespace stasis::api {
namespace {

// Enough for what a socket can still hold of a client that was cut off; then it is closed whatever comes.
constexpr int kDrainReads = 64;

}  // namespace

Connection::~Connection() {
  if (!socket_.valid()) return;
  // close(2) of a unix socket with unread input makes the client's next read fail with ECONNRESET, even where
  // the answer lies unread before it. So first no more may come, then what came is thrown away.
  ::shutdown(socket_.get(), SHUT_RDWR);
  char buffer[16 << 10];
  for (int i = 0; i < kDrainReads; ++i) {
    if (::recv(socket_.get(), buffer, sizeof buffer, MSG_DONTWAIT) <= 0) break;
  }
}

StatusOr<size_t> Connection::Read(char* out, size_t size, Deadline deadline, std::stop_token cancel) {
  for (;;) {
    if (cancel.stop_requested()) return Cancelled("cancelled");
    ssize_t count = ::recv(socket_.get(), out, size, MSG_DONTWAIT);
    if (count >= 0) return static_cast<size_t>(count);
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return Unavailable("the client is gone");
    STASIS_RETURN_IF_ERROR(WaitFor(socket_.get(), POLLIN, deadline, cancel).status());
  }
}

Status Connection::Write(std::string_view bytes, std::optional<std::chrono::seconds> pause,
                         std::stop_token cancel) {
  while (!bytes.empty()) {
    if (cancel.stop_requested()) return Cancelled("cancelled");
    ssize_t count = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count >= 0) {
      bytes.remove_prefix(static_cast<size_t>(count));
    } else if (errno == EAGAIN) {
      Deadline deadline = pause ? After(*pause) : kNoDeadline;
      STASIS_RETURN_IF_ERROR(WaitFor(socket_.get(), POLLOUT, deadline, cancel).status());
    } else if (errno != EINTR) {
      return Unavailable("the client is gone");
    }
  }
  return absl::OkStatus();
}

void Connection::Linger(Deadline deadline, std::stop_token cancel) {
  ::shutdown(socket_.get(), SHUT_WR);
  char buffer[16 << 10];
  while (Read(buffer, sizeof buffer, deadline, cancel).value_or(0) > 0) {
  }
}

}  // namespace stasis::api
