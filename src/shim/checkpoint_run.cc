#include "shim/checkpoint_run.h"

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <thread>

#include "linux/files.h"
#include "linux/process_handle.h"
#include "linux/subprocess.h"
#include "linux/unix_socket.h"
#include "protocol/frame.h"

namespace stasis {
namespace {

using protocol::CheckpointPlan;
using protocol::CheckpointResult;

constexpr std::chrono::seconds kQuietLimit{30};  // lack of progress
constexpr std::chrono::seconds kCriuEndsItself{1};
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
                                 const CheckpointSurroundings& around, const CheckpointHooks& hooks,
                                 std::stop_token cancel) {
  bool finishing = false;
  auto on_notice = [&](const std::string& notice, const Json& params) {
    if (notice != "progress") return;
    // The container goes on before its checkpoint is on disk, and so does who waits for it.
    if (finishing && !plan.paused && hooks.after_thaw && !around.cgroup->Frozen().value_or(true)) {
      hooks.after_thaw();
    }
    if (hooks.progress) hooks.progress(params);
  };
  STASIS_RETURN_IF_ERROR(
      caller->Call("prepare", protocol::ToJson(plan), kQuietLimit, cancel, on_notice).status());
  STASIS_RETURN_IF_ERROR(hooks.before_freeze());
  STASIS_RETURN_IF_ERROR(caller->Call("freeze", Json::object(), kQuietLimit, cancel, on_notice).status());
  finishing = true;
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

// A container that is gone needs no thaw.
Status ThawIfThere(const Cgroup& cgroup) {
  Status status = cgroup.Thaw();
  return absl::IsNotFound(status) ? Status() : status;
}

Status FreezeIfThere(const Cgroup& cgroup) {
  Status status = cgroup.Freeze(After(kUndoLimit), {});
  return absl::IsNotFound(status) ? Status() : status;
}

Status KillCriu(const protocol::Journal& journal) {
  if (journal.criu_pid <= 1) return {};
  StatusOr<ProcessHandle> criu = ProcessHandle::Open(journal.criu_pid);
  if (!criu.ok()) return {};
  StatusOr<uint64_t> started = ProcessStartTime(journal.criu_pid);
  if (!started.ok() || *started != journal.criu_start_time) return {};  // a stranger by now
  // The closed socket makes it end by itself at its next notification, with every process as it was. A kill
  // may come while it has changed a task's registers (docs/adr/0002).
  if (criu->WaitEnded(After(kCriuEndsItself), {}).ok()) return {};
  criu->Signal(SIGKILL).IgnoreError();  // it may have ended meanwhile
  return criu->WaitEnded(After(kUndoLimit), {});
}

}  // namespace

StatusOr<CheckpointResult> RunCheckpoint(const CheckpointPlan& plan, const CheckpointSurroundings& around,
                                         const CheckpointHooks& hooks, std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(Checkpointer checkpointer, StartCheckpointer(around));
  std::stop_source stop;
  std::stop_callback on_cancel(cancel, [&] { stop.request_stop(); });
  // Its socket does not tell of its death while a child of its own holds it too.
  std::jthread watch([&](std::stop_token over) {
    if (checkpointer.child.process().WaitEnded(kNoDeadline, over).ok()) stop.request_stop();
  });
  StatusOr<CheckpointResult> result = Drive(plan, &checkpointer.caller, around, hooks, stop.get_token());
  watch.request_stop();
  watch.join();
  bool broken = !result.ok() && checkpointer.caller.fd() < 0 && !cancel.stop_requested();
  ExitStatus exit = End(std::move(checkpointer), around.log);
  Status undone = UndoJournal(plan.shim_directory, *around.cgroup, plan.paused);
  around.log->IfError("undo the checkpoint", undone);
  hooks.after_thaw();
  if (result.ok()) return result;
  if (cancel.stop_requested()) return Cancelled("the checkpoint was cancelled");
  if (broken && absl::IsDeadlineExceeded(result.status())) {
    return DeadlineExceeded("the checkpoint made no progress for 30 s");
  }
  if (broken && exit.signal) {
    return Internal("the checkpointer died (signal " + std::to_string(exit.signal) + ")");
  }
  if (broken) return Internal("the checkpointer died (exit status " + std::to_string(exit.code) + ")");
  return result;
}

Status UndoJournal(const std::string& directory, const Cgroup& cgroup, bool stay_frozen) {
  std::string path = directory + "/" + protocol::kJournalFile;
  StatusOr<std::string> text = ReadFile(path, 1 << 20);
  if (absl::IsNotFound(text.status())) return {};
  STASIS_RETURN_IF_ERROR(text.status());
  StatusOr<Json> json = ParseJson(*text);
  StatusOr<protocol::Journal> journal = json.ok() ? protocol::JournalFromJson(*json) : json.status();
  if (!journal.ok()) {
    // Thawing what was not frozen does no harm; leaving it frozen would.
    Status status = stay_frozen ? Status() : ThawIfThere(cgroup);
    status.Update(journal.status());
    return status;
  }
  // CRIU first: while it lives it may freeze and write again.
  Status status = KillCriu(*journal);
  if (journal->thaw && !stay_frozen) status.Update(ThawIfThere(cgroup));
  // CRIU thaws the group while it holds every thread: one that its user paused has to be frozen again.
  if (stay_frozen) status.Update(FreezeIfThere(cgroup));
  if (!journal->staging.empty()) status.Update(RemoveTree(journal->staging));
  if (status.ok() && ::unlink(path.c_str()) != 0) status = ErrnoError(errno, "remove " + path);
  return status;
}

}  // namespace stasis
