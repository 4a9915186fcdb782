#include "shim/console_socket.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <utility>

#include "linux/cancel.h"
#include "linux/files.h"

namespace stasis {

StatusOr<ConsoleSocket> ConsoleSocket::Create(const std::string& directory, const std::string& name) {
  ConsoleSocket console;
  STASIS_ASSIGN_OR_RETURN(console.directory_, OpenDirectory(directory));
  STASIS_ASSIGN_OR_RETURN(UnixListener listener, UnixListener::Listen(directory + "/" + name));
  console.lock_file_ = directory + "/" + name + ".lock";
  console.listener_.emplace(std::move(listener));
  console.path_ =
      "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(console.directory_.get()) + "/" + name;
  return console;
}

ConsoleSocket::~ConsoleSocket() {
  listener_.reset();
  if (!lock_file_.empty()) ::unlink(lock_file_.c_str());
}

StatusOr<UniqueFd> ConsoleSocket::Receive(Deadline deadline, std::stop_token cancel) const {
  STASIS_RETURN_IF_ERROR(WaitFor(listener_->fd(), POLLIN, deadline, cancel).status());
  STASIS_ASSIGN_OR_RETURN(UniqueFd connection, listener_->Accept(cancel));
  STASIS_ASSIGN_OR_RETURN(ReceivedMessage message, ReceiveWithFds(connection.get(), deadline, cancel));
  if (message.fds.size() != 1) return Internal("the runtime sent no terminal");
  int number = 0;
  if (::ioctl(message.fds[0].get(), TIOCGPTN, &number) != 0) return Internal("the runtime sent no terminal");
  return std::move(message.fds[0]);
}

}  // namespace stasis
