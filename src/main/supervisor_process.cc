#include "supervisor_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include <condition_variable>
#include <mutex>

#include "base/log.h"
#include "linux/files.h"
#include "linux/regular_file.h"
#include "linux/unix_socket.h"

namespace stasis {
namespace {

constexpr std::chrono::seconds kStartLimit{30};
constexpr std::chrono::milliseconds kStartStep{10};
constexpr std::chrono::seconds kStopGrace{10};
constexpr std::chrono::milliseconds kIdleGrace{500};
constexpr std::chrono::milliseconds kRestartFirst{100};
constexpr std::chrono::milliseconds kRestartLast{5000};

// Who listens on a socket (unix(7), SO_PEERCRED); nothing where nobody does.
std::optional<ProcessHandle> FindListener(const std::string& socket) {
  const StatusOr<UniqueFd> connection = ConnectUnix(socket);
  if (!connection.ok()) return std::nullopt;
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (::getsockopt(connection->get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return std::nullopt;
  StatusOr<ProcessHandle> process = ProcessHandle::Open(peer.pid);
  if (!process.ok()) return std::nullopt;
  return *std::move(process);
}

}  // namespace

StatusOr<std::unique_ptr<SupervisorProcess>> SupervisorProcess::Start(SupervisorPlan plan,
                                                                      std::stop_token cancel) {
  std::unique_ptr<SupervisorProcess> supervisor(new SupervisorProcess(std::move(plan)));
  supervisor->found_ = FindListener(supervisor->plan_.socket);
  if (supervisor->found_) {
    spdlog::info("using the supervisor that runs already, process {}", supervisor->found_->pid());
  } else {
    STASIS_RETURN_IF_ERROR(supervisor->SpawnOne(std::move(cancel)));
  }
  supervisor->watcher_ = std::jthread([raw = supervisor.get()](std::stop_token stop) { raw->Watch(stop); });
  return supervisor;
}

SupervisorProcess::~SupervisorProcess() {
  watcher_.request_stop();
  if (watcher_.joinable()) watcher_.join();
  End();
}

Status SupervisorProcess::SpawnOne(std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(const UniqueFd log,
                          OpenRegularFile(plan_.log_path, O_WRONLY | O_CREAT | O_APPEND, 0600));
  Command command;
  command.argv = plan_.argv;
  command.env = BaseEnvironment();
  command.fds = {{2, log.get()}};
  command.new_session = true;
  STASIS_ASSIGN_OR_RETURN(Child child, Spawn(command));
  const Deadline deadline = After(kStartLimit);
  while (!ConnectUnix(plan_.socket).ok()) {
    Status ended = child.process().WaitEnded(After(kStartStep), cancel);
    if (ended.ok()) return Unavailable("the supervisor ended at once: see " + plan_.log_path);
    if (absl::IsCancelled(ended)) return ended;
    if (PollTimeout(deadline) == 0) {
      return DeadlineExceeded("the supervisor does not answer: see " + plan_.log_path);
    }
  }
  child_ = std::move(child);
  return {};
}

void SupervisorProcess::Watch(std::stop_token stop) {
  std::chrono::milliseconds pause = kRestartFirst;
  while (!stop.stop_requested()) {
    const auto started = std::chrono::steady_clock::now();
    if (child_) {
      if (!child_->Wait(kNoDeadline, stop).ok()) return;
      child_.reset();
    } else if (found_) {
      if (!found_->WaitEnded(kNoDeadline, stop).ok()) return;
      found_.reset();
    }
    spdlog::warn("the supervisor has ended; starting it again");
    if (std::chrono::steady_clock::now() - started > kRestartLast) pause = kRestartFirst;
    while (!stop.stop_requested()) {
      const Status status = SpawnOne(stop);
      if (status.ok() || absl::IsCancelled(status)) break;
      spdlog::error("{}", Message(status));
      std::mutex mutex;
      std::unique_lock lock(mutex);
      std::condition_variable_any never;
      never.wait_for(lock, stop, pause, [] { return false; });
      pause = std::min(pause * 2, kRestartLast);
    }
  }
}

void SupervisorProcess::End() {
  const ProcessHandle* process = child_ ? &child_->process() : found_ ? &*found_ : nullptr;
  if (!process || !process->Signal(SIGTERM).ok()) return;
  if (!process->WaitEnded(idle_ ? After(kIdleGrace) : After(kStopGrace), {}).ok()) {
    spdlog::warn("the supervisor does not end: killed");
    process->Signal(SIGKILL).IgnoreError();
  }
  if (child_) {
    // Reaped, so that nothing is left of it; it has ended or was killed.
    if (const auto exit = child_->Wait(After(kStopGrace), {}); !exit.ok()) {
      spdlog::warn("{}", Message(exit.status()));
    }
  }
}

}  // namespace stasis
