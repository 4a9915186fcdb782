#include "shim/shim.h"

#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "linux/files.h"
#include "linux/process_handle.h"
#include "linux/regular_file.h"
#include "linux/subprocess.h"
#include "linux/unix_socket.h"
#include "protocol/frame.h"
#include "protocol/shim.h"
#include "shim/connections.h"
#include "shim/container.h"
#include "shim/control.h"
#include "shim/event_loop.h"
#include "shim/shim_log.h"

namespace stasis {
namespace {

constexpr size_t kMaxControlConnections = 64;
constexpr size_t kMaxAttachHandshakes = 32;
constexpr std::chrono::seconds kLastOutputLimit{5};

// Everything in the order in which it is made; the end is the other way round.
class Shim {
 public:
  Status Open(const std::string& directory);
  void Run();

 private:
  void StopSoon();
  void ListenOn(UnixListener* listener, Connections* connections, Connections::Serve serve);

  std::unique_ptr<ShimLog> log_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<Container> container_;
  std::unique_ptr<Control> control_;
  UniqueFd child_signals_;
  std::optional<UnixListener> control_listener_;
  std::optional<UnixListener> attach_listener_;
  Connections control_connections_{kMaxControlConnections};
  Connections attach_handshakes_{kMaxAttachHandshakes};
};

// Nothing that ends a terminal or a daemon ends the container: only `delete` does, or SIGKILL.
Status TakeSignals(UniqueFd* child_signals) {
  for (int signal :
       {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGUSR1, SIGUSR2, SIGTSTP, SIGTTIN, SIGTTOU}) {
    ::signal(signal, SIG_IGN);
  }
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  if (::sigprocmask(SIG_BLOCK, &child, nullptr) != 0) return ErrnoError(errno, "sigprocmask");
  *child_signals = UniqueFd(::signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK));
  return child_signals->valid() ? Status() : ErrnoError(errno, "signalfd");
}

// Lets go of what the starter lent: its session, its directory, its standard streams.
Status Detach() {
  ::setsid();  // fails only for one that leads a session already
  if (::chdir("/") != 0) return ErrnoError(errno, "chdir /");
  ::umask(022);
  STASIS_ASSIGN_OR_RETURN(UniqueFd null, OpenFile("/dev/null", O_RDWR));
  for (int fd : {0, 1, 2}) {
    if (::dup2(null.get(), fd) < 0) return ErrnoError(errno, "dup2 /dev/null");
  }
  if (null.get() <= 2) null.release();
  return SetChildSubreaper();
}

StatusOr<protocol::ShimConfig> ReadConfig(const std::string& directory) {
  STASIS_ASSIGN_OR_RETURN(std::string text,
                          ReadFile(directory + "/" + protocol::kShimConfigFile, protocol::kMaxFrame));
  STASIS_ASSIGN_OR_RETURN(Json json, ParseJson(text));
  return protocol::ShimConfigFromJson(json);
}

Status WritePidFile(const std::string& directory) {
  STASIS_ASSIGN_OR_RETURN(uint64_t started, ProcessStartTime(::getpid()));
  return WriteFileAtomically(directory + "/" + protocol::kShimPidFile,
                             std::to_string(::getpid()) + " " + std::to_string(started));
}

Status Shim::Open(const std::string& directory) {
  StatusOr<protocol::ShimConfig> config = ReadConfig(directory);
  if (!config.ok()) return Annotate(config.status(), protocol::kShimConfigFile);
  STASIS_RETURN_IF_ERROR(TakeSignals(&child_signals_));
  STASIS_RETURN_IF_ERROR(Detach());
  STASIS_ASSIGN_OR_RETURN(UniqueFd log, OpenRegularFile(directory + "/" + protocol::kShimLogFile,
                                                        O_WRONLY | O_CREAT | O_APPEND, 0600));
  log_ = std::make_unique<ShimLog>(std::move(log));
  STASIS_ASSIGN_OR_RETURN(loop_, EventLoop::Create());
  // The socket's lock tells a second shim of the same directory away before it touches anything.
  STASIS_ASSIGN_OR_RETURN(UnixListener control,
                          UnixListener::Listen(directory + "/" + protocol::kShimSocket));
  control_listener_.emplace(std::move(control));
  STASIS_ASSIGN_OR_RETURN(UnixListener attach,
                          UnixListener::Listen(directory + "/" + protocol::kAttachSocket));
  attach_listener_.emplace(std::move(attach));
  STASIS_ASSIGN_OR_RETURN(container_,
                          Container::Open(*std::move(config), directory, loop_.get(), log_.get()));
  control_ = std::make_unique<Control>(container_.get(), loop_.get(), [this] { StopSoon(); });
  return WritePidFile(directory);
}

// The last output of a container that is removed at its end must still reach who is attached.
void Shim::StopSoon() {
  loop_->Post([this] {
    auto stop = [this] { loop_->Stop(); };
    loop_->RunAfter(kLastOutputLimit, stop);
    container_->WhenServed(stop);
  });
}

void Shim::ListenOn(UnixListener* listener, Connections* connections, Connections::Serve serve) {
  loop_->Watch(listener->fd(), POLLIN, [=, this](short) {
    StatusOr<UniqueFd> connection = listener->Accept({});
    if (connection.ok()) return connections->Add(*std::move(connection), serve);
    log_->IfError("accept", connection.status());
  });
}

void Shim::Run() {
  loop_->Watch(child_signals_.get(), POLLIN, [this](short) {
    signalfd_siginfo ignored[8];
    while (::read(child_signals_.get(), ignored, sizeof ignored) > 0) {
    }
    container_->ReapOrphans();
  });
  ListenOn(&*control_listener_, &control_connections_,
           [this](UniqueFd fd, std::stop_token stop) { control_->Serve(std::move(fd), std::move(stop)); });
  ListenOn(&*attach_listener_, &attach_handshakes_, [this](UniqueFd fd, std::stop_token stop) {
    control_->ServeAttach(std::move(fd), std::move(stop));
  });
  log_->Line("serving");
  loop_->Run();
  log_->Line("ends");
}

}  // namespace

Status RunShim(const std::string& directory, UniqueFd ready) {
  // Many shims run on a machine: one heap for all threads, and free memory given back.
  ::mallopt(M_ARENA_MAX, 1);
  ::mallopt(M_TRIM_THRESHOLD, 128 << 10);
  Shim shim;
  Status status = shim.Open(directory);
  std::string word = status.ok() ? "R" : Message(status);
  if (ready.valid()) WriteAll(ready.get(), word).IgnoreError();  // who started us may be gone
  ready.reset();
  STASIS_RETURN_IF_ERROR(status);
  shim.Run();
  return {};
}

}  // namespace stasis
