// What keeps a container from being checkpointed, as far as it can be seen before it is; and what a restore
// would not bring back.
#include <algorithm>
#include <utility>

#include "checkpoint/checkpoint.h"
#include "checkpoint/inner_losses.h"
#include "criu/verdict.h"

namespace stasis::checkpoint {
namespace {

constexpr std::chrono::seconds kAnswers{10};  // of all twins

}  // namespace

Status Checkpoint::JudgeProcesses() {
  auto processes = criu::ReadProcessTree(plan_.init_pid);
  if (absl::IsNotFound(processes.status())) return FailedPrecondition("the container is not running");
  // One before us may have left twins, which CRIU would save as children of the program's.
  if (processes.ok() && !plan_.paused && ReapLeftTwins(*processes) > 0)
    processes = criu::ReadProcessTree(plan_.init_pid);
  if (!processes.ok()) return processes.status();
  processes_ = *std::move(processes);
  if (auto verdict = criu::Survey(processes_, &losses_)) return Internal(*verdict);
  stopped_ = std::any_of(processes_.begin(), processes_.end(), criu::IsStopped);
  if (stopped_ && plan_.paused) return Internal("it has a stopped process, and is paused; unpause it first");
  return absl::OkStatus();
}

Status Checkpoint::JudgeLosses() {
  if (plan_.paused) {
    for (const criu::Process& process : processes_) {
      criu::FindMemoryLosses(process, process.pid, &losses_);
      if (!process.may_be_restricted) continue;
      losses_.Add(process, {"",
                            "may be under Landlock rules, which do not come back; as long as it is paused "
                            "nobody can tell"});
    }
  } else if (source_ != Source::kTwins) {
    STASIS_RETURN_IF_ERROR(FindLossesInside(processes_, {&losses_, &protections_}));
  }
  return losses_.Judge(plan_.request.allow);
}

Status Checkpoint::JudgeTwins() {
  const Status found = twins_->FindLosses(processes_, After(kAnswers), {&losses_, &protections_});
  return found.ok() ? losses_.Judge(plan_.request.allow) : MakeError(StatusCode::kAborted, Message(found));
}

}  // namespace stasis::checkpoint
