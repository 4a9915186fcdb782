#include "shim/checkpoint_run.h"

#include <signal.h>

#include <chrono>
#include <optional>
#include <thread>
#include <vector>

#include "linux/subprocess.h"
#include "linux/unix_socket.h"
#include "protocol/frame.h"
#include "protocol/journal.h"

namespace stasis {
namespace {

using protocol::CheckpointPlan;
using protocol::CheckpointResult;

// Lack of progress. The checkpointer's own limit on CRIU (checkpoint/progress.h) is shorter and says more;
// who waits for us (supervisor/container_actor.cc) is more patient.
constexpr std::chrono::seconds kQuietLimit{60};
constexpr std::chrono::seconds kUndoLimit{20};  // the checkpointer's own undoing, once it is told
constexpr int kSocketOfChild = 3;

// The checkpointer as a child, and the connection to it.
struct Checkpointer {
  Child child;
  protocol::Caller caller;
};

StatusOr<Checkpointer> StartCheckpointer(const CheckpointSurroundings& around) {
  STASIS_ASSIGN_OR_RETURN(SocketPair pair, MakeSocketPair());
  Command command;
  command.argv = {around.checkpointer};
  command.env = BaseEnvironment();
  command.fds = {{kSocketOfChild, pair.second.get()}, {2, around.log->fd()}};
  command.new_session = true;
  STASIS_ASSIGN_OR_RETURN(Child child, Spawn(command));
  return Checkpointer{std::move(child), protocol::Caller(std::move(pair.first))};
}

// The verbs, in order.
StatusOr<CheckpointResult> Drive(const CheckpointPlan& plan, protocol::Caller* caller,
                                 const CheckpointHooks& hooks, std::stop_token cancel) {
  const bool thawed_first = !plan.request.exit && !plan.paused;
  auto on_notice = [&](const std::string& notice, const Json& params) {
    if (notice != "progress") return;
    // The container goes on before its checkpoint is on disk, and so does who waits for it.
    if (thawed_first && params.value("phase", "") == "publish") hooks.after_thaw();
    if (hooks.progress) hooks.progress(params);
  };
  STASIS_RETURN_IF_ERROR(
      caller->Call("prepare", protocol::ToJson(plan), kQuietLimit, cancel, on_notice).status());
  STASIS_RETURN_IF_ERROR(hooks.before_freeze());
  STASIS_RETURN_IF_ERROR(caller->Call("freeze", Json::object(), kQuietLimit, cancel, on_notice).status());
  STASIS_ASSIGN_OR_RETURN(Json result,
                          caller->Call("finish", Json::object(), kQuietLimit, cancel, on_notice));
  return protocol::CheckpointResultFromJson(result);
}

// Its end, which the closed connection asks for; by force when it does not come.
ExitStatus End(Checkpointer checkpointer, ShimLog* log) {
  checkpointer.caller = protocol::Caller(UniqueFd());
  StatusOr<ExitStatus> exit = checkpointer.child.Wait(After(kUndoLimit), {});
  if (exit.ok()) return *exit;
  log->Line("the checkpointer does not end: killed");
  checkpointer.child.Kill();
  return ExitStatus{.code = 0, .signal = SIGKILL};
}

// Why it failed, where the broken connection itself says nothing.
Status Explain(const Status& status, bool broken, const ExitStatus& exit, const std::stop_token& cancel) {
  if (cancel.stop_requested()) return Cancelled("the checkpoint was cancelled");
  if (!broken) return status;
  if (absl::IsDeadlineExceeded(status)) {
    return DeadlineExceeded("the checkpoint made no progress for " + std::to_string(kQuietLimit.count()) +
                            " s");
  }
  if (exit.signal) return Internal("the checkpointer died (signal " + std::to_string(exit.signal) + ")");
  return Internal("the checkpointer died (exit status " + std::to_string(exit.code) + ")");
}

// A dead checkpointer's copies of processes have died with it; their parents have to be made to reap them.
void ReapTwins(pid_t init, const CheckpointSurroundings& around) {
  StatusOr<Checkpointer> checkpointer = StartCheckpointer(around);
  Status status = checkpointer.status();
  if (status.ok()) {
    status = checkpointer->caller.Call("reap", {{"init_pid", init}}, kUndoLimit, {}, nullptr).status();
    End(*std::move(checkpointer), around.log);
  }
  around.log->IfError("reap the copies of processes", status);
}

}  // namespace

StatusOr<CheckpointResult> RunCheckpoint(const CheckpointPlan& asked, const CheckpointSurroundings& around,
                                         const CheckpointHooks& hooks, std::stop_token cancel) {
  CheckpointPlan plan = asked;
  const protocol::UndoOptions undo = {.cgroup = around.cgroup, .stay_frozen = plan.paused};
  STASIS_RETURN_IF_ERROR(
      Annotate(protocol::UndoJournal(plan.shim_directory, undo).status(), "undo an earlier checkpoint"));
  const protocol::JournalFile file(plan.shim_directory);
  const std::vector<CgroupLimit> raised = file.Read().value_or(protocol::Journal()).limits;
  if (!raised.empty()) {
    // Copy on write would take the limits of now for the container's own.
    plan.request.freeze = protocol::kFreezePlain;
    plan.request.freeze_reason = "an earlier one had to leave limits raised";
  }
  STASIS_ASSIGN_OR_RETURN(Checkpointer checkpointer, StartCheckpointer(around));
  std::stop_source stop;
  std::stop_callback on_cancel(cancel, [&] { stop.request_stop(); });
  // Its socket does not tell of its death while a child of its own holds it too.
  std::jthread watch([&](std::stop_token over) {
    if (checkpointer.child.process().WaitEnded(kNoDeadline, over).ok()) stop.request_stop();
  });
  StatusOr<CheckpointResult> result = Drive(plan, &checkpointer.caller, hooks, stop.get_token());
  watch.request_stop();
  watch.join();
  bool broken = !result.ok() && checkpointer.caller.fd() < 0 && !cancel.stop_requested();
  ExitStatus exit = End(std::move(checkpointer), around.log);
  const StatusOr<protocol::Journal> journal = file.Read();
  const StatusOr<bool> undone = protocol::UndoJournal(plan.shim_directory, undo);
  if (!raised.empty()) {
    protocol::Journal left = file.Read().value_or(protocol::Journal());
    left.limits = raised;
    around.log->IfError("keep the limits", file.Write(left));
  }
  if (journal.ok() && journal->copies) ReapTwins(plan.init_pid, around);
  if (!result.ok() && undone.ok() && *undone) {
    // Past the point of no return (protocol/checkpointer.h): what is left of it is done here.
    around.log->Line("the checkpoint is published, though: " + Message(result.status()));
    if (plan.request.exit)
      around.log->IfError("kill the container", around.cgroup->KillAll(After(kUndoLimit)));
    result = CheckpointResult{};
  }
  if (result.ok()) return result;
  result = Explain(result.status(), broken, exit, cancel);
  if (undone.ok()) return result;
  around.log->IfError("undo the checkpoint", undone.status());
  return MakeError(result.status().code(),
                   Message(result.status()) + "; and undoing it failed: " + Message(undone.status()));
}

Status UnpackCheckpoint(const protocol::UnpackRequest& request, const CheckpointSurroundings& around,
                        std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(Checkpointer checkpointer, StartCheckpointer(around));
  const Status status =
      checkpointer.caller.Call("unpack", protocol::ToJson(request), kQuietLimit, cancel).status();
  const bool broken = !status.ok() && checkpointer.caller.fd() < 0;
  const ExitStatus exit = End(std::move(checkpointer), around.log);
  return status.ok() ? status : Explain(status, broken, exit, cancel);
}

}  // namespace stasis
