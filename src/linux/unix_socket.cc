#include "linux/unix_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "linux/cancel.h"
#include "linux/files.h"
#include "linux/regular_file.h"

namespace stasis {
namespace {

constexpr size_t kMaxMessage = 4096;
constexpr size_t kMaxFds = 16;

// An address of any length of path: where sun_path is too short, through the directory's descriptor, which
// must stay open until bind or connect is done.
struct UnixAddress {
  sockaddr_un address = {};
  UniqueFd directory;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};

StatusOr<UnixAddress> MakeAddress(const std::string& path) {
  UnixAddress out;
  out.address.sun_family = AF_UNIX;
  std::string usable = path;
  if (path.empty() || path.find('\0') != path.npos) return InvalidArgument("not a socket path: " + path);
  if (path.size() >= sizeof out.address.sun_path) {
    size_t slash = path.rfind('/');
    std::string directory = slash == path.npos ? "." : path.substr(0, slash + 1);
    STASIS_ASSIGN_OR_RETURN(out.directory, OpenFile(directory, O_PATH | O_DIRECTORY));
    usable = "/proc/self/fd/" + std::to_string(out.directory.get()) + "/" + path.substr(slash + 1);
  }
  if (usable.size() >= sizeof out.address.sun_path)
    return InvalidArgument("name of socket too long: " + path);
  std::memcpy(out.address.sun_path, usable.data(), usable.size());
  return out;
}

StatusOr<UniqueFd> MakeSocket(int flags) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
  if (!socket.valid()) return ErrnoError(errno, "socket");
  return socket;
}

Status RemoveStaleSocket(const std::string& path) {
  struct stat found;
  if (::lstat(path.c_str(), &found) != 0) {
    return errno == ENOENT ? absl::OkStatus() : ErrnoError(errno, "stat " + path);
  }
  if (!S_ISSOCK(found.st_mode)) return FailedPrecondition(path + " is there and is not a socket");
  if (::unlink(path.c_str()) != 0) return ErrnoError(errno, "unlink " + path);
  return absl::OkStatus();
}

StatusOr<UniqueFd> TakeLock(const std::string& path) {
  STASIS_ASSIGN_OR_RETURN(UniqueFd lock, OpenRegularFile(path, O_RDWR | O_CREAT, 0600));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno == EWOULDBLOCK) return AlreadyExists("another process serves here: " + path + " is locked");
  return ErrnoError(errno, "flock " + path);
}

}  // namespace

UnixListener::UnixListener(std::string path, UniqueFd lock, UniqueFd socket)
    : path_(std::move(path)), lock_(std::move(lock)), socket_(std::move(socket)) {}

UnixListener& UnixListener::operator=(UnixListener&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(lock_, other.lock_);
  std::swap(socket_, other.socket_);
  return *this;
}

UnixListener::~UnixListener() {
  if (socket_.valid()) ::unlink(path_.c_str());
}

StatusOr<UnixListener> UnixListener::Listen(const std::string& path, mode_t mode) {
  STASIS_ASSIGN_OR_RETURN(UnixAddress address, MakeAddress(path));
  STASIS_ASSIGN_OR_RETURN(UniqueFd lock, TakeLock(path + ".lock"));
  STASIS_RETURN_IF_ERROR(RemoveStaleSocket(path));
  STASIS_ASSIGN_OR_RETURN(UniqueFd socket, MakeSocket(SOCK_NONBLOCK));
  if (::bind(socket.get(), address.get(), sizeof address.address) != 0)
    return ErrnoError(errno, "bind " + path);
  UnixListener listener(path, std::move(lock), std::move(socket));  // unlinks the path on the errors below
  // Before listen(2): until then nobody can connect, whatever the umask allowed.
  if (::chmod(path.c_str(), mode) != 0) return ErrnoError(errno, "chmod " + path);
  if (::listen(listener.fd(), SOMAXCONN) != 0) return ErrnoError(errno, "listen " + path);
  return listener;
}

StatusOr<UniqueFd> UnixListener::Accept(std::stop_token cancel) const {
  for (;;) {
    STASIS_RETURN_IF_ERROR(WaitFor(socket_.get(), POLLIN, kNoDeadline, cancel).status());
    UniqueFd connection(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (connection.valid()) return connection;
    if (errno != EINTR && errno != EAGAIN && errno != ECONNABORTED)
      return ErrnoError(errno, "accept " + path_);
  }
}

StatusOr<UniqueFd> ConnectUnix(const std::string& path) {
  STASIS_ASSIGN_OR_RETURN(UnixAddress address, MakeAddress(path));
  // Not blocking, because connect(2) waits without bound for a server whose backlog is full.
  STASIS_ASSIGN_OR_RETURN(UniqueFd socket, MakeSocket(SOCK_NONBLOCK));
  if (::connect(socket.get(), address.get(), sizeof address.address) != 0) {
    return ErrnoError(errno, "connect " + path);
  }
  int flags = ::fcntl(socket.get(), F_GETFL);
  if (::fcntl(socket.get(), F_SETFL, flags & ~O_NONBLOCK) != 0) return ErrnoError(errno, "fcntl " + path);
  return socket;
}

StatusOr<SocketPair> MakeSocketPair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) return ErrnoError(errno, "socketpair");
  return SocketPair{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

StatusOr<Pipe> MakePipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return ErrnoError(errno, "pipe2");
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

StatusOr<uid_t> PeerUid(int socket) {
  ucred peer = {};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
    return ErrnoError(errno, "SO_PEERCRED");
  return peer.uid;
}

Status ReadExactly(int fd, void* out, size_t size, Deadline deadline, std::stop_token cancel) {
  char* at = static_cast<char*>(out);
  while (size > 0) {
    STASIS_RETURN_IF_ERROR(WaitFor(fd, POLLIN, deadline, cancel).status());
    ssize_t got = ::read(fd, at, size);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) return ErrnoError(errno, "read");
    if (got == 0) return Unavailable("closed");
    at += got;
    size -= static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

Status SendExactly(int socket, std::string_view bytes, Deadline deadline, std::stop_token cancel) {
  while (!bytes.empty()) {
    STASIS_RETURN_IF_ERROR(WaitFor(socket, POLLOUT, deadline, cancel).status());
    ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (sent < 0) return ErrnoError(errno, "send");
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return absl::OkStatus();
}

Status SendWithFds(int socket, std::string_view bytes, const std::vector<int>& fds) {
  if (bytes.empty() || bytes.size() > kMaxMessage || fds.size() > kMaxFds) {
    return InvalidArgument("a message takes 1 to 4096 bytes and at most 16 descriptors");
  }
  iovec part = {const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))] = {};
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
  }
  ssize_t sent;
  do {
    sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return ErrnoError(errno, "sendmsg");
  // The descriptors went with the first byte; a full buffer may have left some bytes.
  return SendExactly(socket, bytes.substr(static_cast<size_t>(sent)), kNoDeadline, {});
}

StatusOr<ReceivedMessage> ReceiveWithFds(int socket, Deadline deadline, std::stop_token cancel) {
  char buffer[kMaxMessage];
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))];
  iovec part = {buffer, sizeof buffer};
  msghdr message = {};
  ssize_t got;
  do {
    STASIS_RETURN_IF_ERROR(WaitFor(socket, POLLIN, deadline, cancel).status());
    message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (got < 0 && (errno == EINTR || errno == EAGAIN));
  if (got < 0) return ErrnoError(errno, "recvmsg");
  ReceivedMessage received;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      received.fds.emplace_back(fd);
    }
  }
  if (message.msg_flags & MSG_CTRUNC) return InvalidArgument("message with too many descriptors");
  if (got == 0) return Unavailable("closed");
  received.bytes.assign(buffer, static_cast<size_t>(got));
  return received;
}

}  // namespace stasis
