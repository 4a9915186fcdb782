#include "shim/checkpoint_run.h"

#include <chrono>
#include <optional>
#include <thread>
#include <vector>

#include "linux/priority.h"
#include "protocol/frame.h"
#include "protocol/journal.h"
#include "shim/checkpointer_process.h"

namespace stasis {
namespace {

using protocol::CheckpointPlan;
using protocol::CheckpointResult;

// The verbs, in order.
StatusOr<CheckpointResult> Drive(const CheckpointPlan& plan, protocol::Caller* caller,
                                 const CheckpointHooks& hooks, std::stop_token cancel) {
  const bool thawed_first = !plan.request.exit && !plan.paused;
  std::optional<RealTimeScope> hurry;
  auto on_notice = [&](const std::string& notice, const Json& params) {
    if (notice != "progress") return;
    // The container goes on before its checkpoint is on disk, and so does who waits for it.
    if (thawed_first && params.value("phase", "") == "publish") {
      hurry.reset();
      hooks.after_thaw();
    }
    if (hooks.progress) hooks.progress(params);
  };
  STASIS_RETURN_IF_ERROR(
      caller->Call("prepare", protocol::ToJson(plan), CheckpointerProcess::kQuietLimit, cancel, on_notice)
          .status());
  STASIS_RETURN_IF_ERROR(hooks.before_freeze());
  // This thread only passes on from one verb to the next, between which the container stands still.
  if (thawed_first) hurry.emplace();
  STASIS_RETURN_IF_ERROR(
      caller->Call("freeze", Json::object(), CheckpointerProcess::kQuietLimit, cancel, on_notice).status());
  STASIS_ASSIGN_OR_RETURN(Json result, caller->Call("finish", Json::object(),
                                                    CheckpointerProcess::kQuietLimit, cancel, on_notice));
  return protocol::CheckpointResultFromJson(result);
}

// How a checkpointer's work went, and how it ended.
struct Driven {
  StatusOr<CheckpointResult> result;
  bool broken = false;  // the connection
  ExitStatus exit = {};
};

StatusOr<Driven> DriveCheckpointer(const CheckpointPlan& plan, const CheckpointSurroundings& around,
                                   const CheckpointHooks& hooks, const std::stop_token& cancel) {
  STASIS_ASSIGN_OR_RETURN(CheckpointerProcess checkpointer,
                          CheckpointerProcess::Start(around.checkpointer, around.log));
  std::stop_source stop;
  std::stop_callback on_cancel(cancel, [&] { stop.request_stop(); });
  // Its socket does not tell of its death while a child of its own holds it too.
  std::jthread watch([&](std::stop_token over) {
    if (checkpointer.process().WaitEnded(kNoDeadline, over).ok()) stop.request_stop();
  });
  Driven driven = {.result = Drive(plan, &checkpointer.caller(), hooks, stop.get_token())};
  watch.request_stop();
  watch.join();
  driven.broken = !driven.result.ok() && checkpointer.caller().fd() < 0;
  driven.exit = checkpointer.End();
  return driven;
}

// A dead checkpointer's copies of processes have died with it; their parents have to be made to reap them.
void ReapTwins(pid_t init, const CheckpointSurroundings& around) {
  StatusOr<CheckpointerProcess> checkpointer = CheckpointerProcess::Start(around.checkpointer, around.log);
  Status status = checkpointer.status();
  if (status.ok()) {
    status = checkpointer->caller()
                 .Call("reap", {{"init_pid", init}}, CheckpointerProcess::kUndoLimit, {}, nullptr)
                 .status();
    checkpointer->End();
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
  STASIS_ASSIGN_OR_RETURN(Driven driven, DriveCheckpointer(plan, around, hooks, cancel));
  StatusOr<CheckpointResult>& result = driven.result;
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
      around.log->IfError("kill the container",
                          around.cgroup->KillAll(After(CheckpointerProcess::kUndoLimit)));
    result = CheckpointResult{};
  }
  if (result.ok()) return result;
  result = CheckpointerProcess::Explain(result.status(), driven.broken, driven.exit, cancel);
  if (undone.ok()) return result;
  around.log->IfError("undo the checkpoint", undone.status());
  return MakeError(result.status().code(),
                   Message(result.status()) + "; and undoing it failed: " + Message(undone.status()));
}

}  // namespace stasis
