// Unix stream sockets: listening with a lock so that two servers never share a path, connecting, passing
// descriptors.
#pragma once

#include <sys/types.h>

#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "linux/clock.h"
#include "linux/unique_fd.h"

namespace stasis {

// A listening socket at a path. Its lock file ("PATH.lock", flock(2)) is held for its whole life, so a second
// server gets kAlreadyExists instead of taking the path over; a stale socket is replaced. Paths longer than
// sun_path (107 bytes) work through /proc/self/fd of their directory. The lock file stays when the listener
// goes.
class UnixListener {
 public:
  static StatusOr<UnixListener> Listen(const std::string& path, mode_t mode = 0600);
  UnixListener(UnixListener&&) noexcept = default;
  UnixListener& operator=(UnixListener&& other) noexcept;
  ~UnixListener();  // unlinks the path, then lets the lock go

  int fd() const { return socket_.get(); }  // non-blocking
  // The next connection, a blocking descriptor. kCancelled when `cancel` says so.
  StatusOr<UniqueFd> Accept(std::stop_token cancel) const;

 private:
  UnixListener(std::string path, UniqueFd lock, UniqueFd socket);
  std::string path_;
  UniqueFd lock_;
  UniqueFd socket_;
};

// A connected, blocking stream socket. kNotFound; kUnavailable (nobody listens, or the backlog is full).
StatusOr<UniqueFd> ConnectUnix(const std::string& path);

struct SocketPair {
  UniqueFd first;
  UniqueFd second;
};
StatusOr<SocketPair> MakeSocketPair();

// Pipes with O_CLOEXEC.
struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};
StatusOr<Pipe> MakePipe();

// uid of the other side (SO_PEERCRED).
StatusOr<uid_t> PeerUid(int socket);

// Reads exactly `size` bytes; kUnavailable "closed" at end of stream.
Status ReadExactly(int fd, void* out, size_t size, Deadline deadline, std::stop_token cancel);

// Writes all bytes to a socket, without SIGPIPE; kUnavailable when the other side has closed.
Status SendExactly(int socket, std::string_view bytes, Deadline deadline, std::stop_token cancel);

// One message with descriptors: bytes (at least one) through sendmsg(2) with SCM_RIGHTS. Used for a runc
// console socket.
Status SendWithFds(int socket, std::string_view bytes, const std::vector<int>& fds);
// At most 4096 bytes and 16 descriptors; kUnavailable "closed" at end of stream.
struct ReceivedMessage {
  std::string bytes;
  std::vector<UniqueFd> fds;
};
StatusOr<ReceivedMessage> ReceiveWithFds(int socket, Deadline deadline, std::stop_token cancel);

}  // namespace stasis
