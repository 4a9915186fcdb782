#include "shim/checkpointer_process.h"

#include <signal.h>

#include "linux/unix_socket.h"

namespace stasis {
namespace {

constexpr int kSocketOfChild = 3;

}  // namespace

StatusOr<CheckpointerProcess> CheckpointerProcess::Start(const std::string& program, ShimLog* log) {
  STASIS_ASSIGN_OR_RETURN(SocketPair pair, MakeSocketPair());
  Command command;
  command.argv = {program};
  command.env = BaseEnvironment();
  command.fds = {{kSocketOfChild, pair.second.get()}, {2, log->fd()}};
  command.new_session = true;
  STASIS_ASSIGN_OR_RETURN(Child child, Spawn(command));
  return CheckpointerProcess(std::move(child), protocol::Caller(std::move(pair.first)), log);
}

ExitStatus CheckpointerProcess::End() {
  caller_ = protocol::Caller(UniqueFd());
  StatusOr<ExitStatus> exit = child_.Wait(After(kUndoLimit), {});
  if (exit.ok()) return *exit;
  log_->Line("the checkpointer does not end: killed");
  child_.Kill();
  return ExitStatus{.code = 0, .signal = SIGKILL};
}

Status CheckpointerProcess::Explain(const Status& status, bool broken, const ExitStatus& exit,
                                    const std::stop_token& cancel) {
  if (cancel.stop_requested()) return Cancelled("the checkpoint was cancelled");
  if (!broken) return status;
  if (absl::IsDeadlineExceeded(status)) {
    return DeadlineExceeded("the checkpoint made no progress for " + std::to_string(kQuietLimit.count()) +
                            " s");
  }
  if (exit.signal) return Internal("the checkpointer died (signal " + std::to_string(exit.signal) + ")");
  return Internal("the checkpointer died (exit status " + std::to_string(exit.code) + ")");
}

}  // namespace stasis
