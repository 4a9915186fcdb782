#include "cli/doctor_victim.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "linux/files.h"
#include "linux/unique_fd.h"
#include "linux/unix_socket.h"

namespace stasis::cli {
namespace {

constexpr unsigned kLifeSeconds = 120;

struct Connection {
  UniqueFd near;
  UniqueFd far;
};

// Over the loopback, since a pair of TCP sockets cannot be had otherwise.
StatusOr<Connection> ConnectToSelf() {
  UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener.get(), generic, size) < 0 || ::listen(listener.get(), 1) < 0 ||
      ::getsockname(listener.get(), generic, &size) < 0)
    return ErrnoError(errno, "listen on 127.0.0.1");
  Connection connection;
  connection.near = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(connection.near.get(), generic, size) < 0) return ErrnoError(errno, "connect to 127.0.0.1");
  connection.far = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!connection.far.valid()) return ErrnoError(errno, "accept");
  return connection;
}

// The number as it came out at the other end.
StatusOr<int> PassThrough(const Connection& connection, int number) {
  const Deadline deadline = After(std::chrono::seconds(5));
  int arrived = -1;
  const std::string_view bytes(reinterpret_cast<const char*>(&number), sizeof number);
  STASIS_RETURN_IF_ERROR(SendExactly(connection.near.get(), bytes, deadline, {}));
  STASIS_RETURN_IF_ERROR(ReadExactly(connection.far.get(), &arrived, sizeof arrived, deadline, {}));
  return arrived;
}

Status Tell(const std::string& fifo, int number) {
  STASIS_ASSIGN_OR_RETURN(UniqueFd fd, OpenFile(fifo, O_WRONLY));
  return WriteAll(fd.get(), std::to_string(number) + "\n");
}

Status Live(const std::string& fifo) {
  sigset_t asked;
  ::sigemptyset(&asked);
  ::sigaddset(&asked, SIGUSR1);
  ::sigprocmask(SIG_BLOCK, &asked, nullptr);
  ::alarm(kLifeSeconds);
  STASIS_ASSIGN_OR_RETURN(Connection connection, ConnectToSelf());
  for (int number = 0;; ++number) {
    STASIS_ASSIGN_OR_RETURN(int arrived, PassThrough(connection, number));
    STASIS_RETURN_IF_ERROR(Tell(fifo, arrived));
    int signal = 0;
    ::sigwait(&asked, &signal);
  }
}

}  // namespace

int RunDoctorVictim(const std::string& fifo) { return Live(fifo).ok() ? 0 : 1; }

}  // namespace stasis::cli
