// The actor's own thread: from the shim's events to the event log, and the end of a container.
#include <utility>

#include "base/log.h"
#include "linux/files.h"
#include "supervisor/container_actor.h"

namespace stasis::supervisor {
namespace {

constexpr std::chrono::milliseconds kRetryFirst{100};
constexpr std::chrono::milliseconds kRetryMost{5000};
constexpr std::chrono::seconds kDeleteQuiet{30};
constexpr std::chrono::seconds kEndLimit{10};
// Init's exit is the last event of a shim that counts; it is logged under this number, so that a shim whose
// container's end is logged already is known as such.
constexpr uint64_t kLastSequence = UINT64_MAX;

types::Event ExitEvent(const std::string& id, const protocol::ExitRecord& record) {
  types::Event event;
  event.set_type("exit");
  event.set_id(id);
  event.set_pid(record.process);
  event.set_status(static_cast<uint32_t>(record.status));
  event.set_oom_killed(record.oom_killed);
  event.set_reason(record.reason);
  ToProto(record.at, event.mutable_at());
  return event;
}

}  // namespace

void ContainerActor::Follow() {
  thread_ = std::jthread([this](std::stop_token stop) { FollowUntilGone(std::move(stop)); });
}

void ContainerActor::FollowUntilGone(std::stop_token stop) {
  for (auto wait = kRetryFirst; !stop.stop_requested(); wait = std::min(2 * wait, kRetryMost)) {
    if (!process_ || process_->Ended()) {
      if (!AwaitDecision(stop)) return;
      return BuryShim(stop);
    }
    StatusOr<End> end = FollowShim(stop);
    if (stop.stop_requested()) return;
    if (end.ok()) {
      SetPhase(Phase::kGone);
      Remove(/*force=*/*end == End::kCreationInterrupted, stop);
      if (stop.stop_requested()) return;  // the supervisor's next start goes on from here
      events_.Forget(shim_name_);
      return on_gone_(id());
    }
    // A dying shim closes its socket some time before its process has ended.
    if (process_->WaitEnded(After(wait), stop).ok()) continue;
    if (!stop.stop_requested()) spdlog::warn("container {}: {}", id(), Message(end.status()));
  }
}

StatusOr<ContainerActor::End> ContainerActor::FollowShim(std::stop_token stop) {
  if (events_.LastSequence(shim_name_) == kLastSequence)
    return End::kExited;  // logged before a restart of ours
  STASIS_ASSIGN_OR_RETURN(protocol::Caller subscription,
                          shim_.Subscribe(events_.LastSequence(shim_name_), {.cancel = stop}));
  Refresh();
  if (CreationWasInterrupted()) {
    spdlog::warn("container {}: its creation was interrupted; removed", id());
    return End::kCreationInterrupted;
  }
  for (;;) {
    STASIS_ASSIGN_OR_RETURN(protocol::ShimEvent event, ShimClient::NextEvent(subscription, stop));
    if (event.type == "exit" && event.process == protocol::kInit) {
      if (!AwaitDecision(stop)) return Cancelled("stopped");
      STASIS_RETURN_IF_ERROR(LogEnd([&] { return LogEvent(event); }));
      return End::kExited;
    }
    STASIS_RETURN_IF_ERROR(LogEvent(event));
    Refresh();
  }
}

// Whoever hears of the end finds no container any more.
Status ContainerActor::LogEnd(const std::function<Status()>& log) {
  SetPhase(Phase::kGone);
  Status logged = log();
  if (!logged.ok()) SetPhase(Phase::kLive);
  return logged;
}

// Found after a restart in a state in which only the creating call, now broken, would have gone on with it.
bool ContainerActor::CreationWasInterrupted() const {
  std::lock_guard lock(mutex_);
  return adopted_ && !record_.create_only && !start_logged_ && !state_.exit &&
         (state_.status == "starting" || state_.status == "created");
}

Status ContainerActor::LogEvent(const protocol::ShimEvent& event) {
  bool init = event.process == protocol::kInit;
  types::Event logged;
  EventSource source{shim_name_, event.sequence};
  if (event.exit) {
    logged = ExitEvent(id(), *event.exit);
    if (init) source.sequence = kLastSequence;
  } else {
    logged.set_id(id());
    ToProto(event.at, logged.mutable_at());
  }
  logged.set_type(event.type);
  logged.set_pid(event.process);
  STASIS_RETURN_IF_ERROR(events_.Append(std::move(logged), source));
  std::lock_guard lock(mutex_);
  if (event.type == "start-container") start_logged_ = true;
  if (event.type == "exit" && !init) execs_.erase(event.process);
  return {};
}

bool ContainerActor::AwaitDecision(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  return changed_.wait(lock, stop, [this] { return !Undecided(phase_); });
}

void ContainerActor::BuryShim(std::stop_token stop) {
  spdlog::warn("container {}: its shim is gone", id());
  ClearUntilDone(stop);
  // Told only now that the container is dead too. If the log can't be written, the next start finds it all
  // again.
  while (!stop.stop_requested()) {
    Status logged = LogEnd([this] { return LogDeath(ExitOfDeadShim(record_.directory)); });
    if (logged.ok()) break;
    spdlog::error("container {}: {}", id(), Message(logged));
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, stop, kRetryMost, [] { return false; });
  }
  if (stop.stop_requested()) return;
  if (Status removed = RemoveTree(record_.directory); !removed.ok()) {
    spdlog::error("container {}: {}", id(), Message(removed));
  }
  events_.Forget(shim_name_);
  on_gone_(id());
}

// Exit events of what ran when the shim died: the execs, then init.
Status ContainerActor::LogDeath(const protocol::ExitRecord& record) {
  if (events_.LastSequence(shim_name_) == kLastSequence) return {};
  for (const protocol::ShimState::Exec& exec : state().execs) {
    STASIS_RETURN_IF_ERROR(events_.Append(
        ExitEvent(id(), {exec.process, record.status, false, record.at, record.reason}), EventSource()));
  }
  {
    std::lock_guard lock(mutex_);
    state_.execs.clear();
  }
  return events_.Append(ExitEvent(id(), record), {shim_name_, kLastSequence});
}

void ContainerActor::Remove(bool force, std::stop_token stop) {
  ShimLimits limits{.quiet = kDeleteQuiet, .cancel = stop};
  Status deleted = shim_.Call("delete", {{"force", force}}, limits).status();
  if (deleted.ok()) deleted = process_->WaitEnded(After(kEndLimit), stop);
  if (stop.stop_requested()) return;  // the next start of the supervisor goes on from here
  if (!deleted.ok()) {
    spdlog::error("container {}: delete: {}; cleared without its shim", id(), Message(deleted));
    process_->Kill();
    ClearUntilDone(stop);
  }
  if (Status removed = RemoveTree(record_.directory); !removed.ok()) {
    spdlog::error("container {}: {}", id(), Message(removed));
  }
}

void ContainerActor::ClearUntilDone(std::stop_token stop) {
  for (auto wait = kRetryFirst; !stop.stop_requested(); wait = std::min(2 * wait, kRetryMost)) {
    Status cleared = ClearAfterShim(record_.config, record_.directory);
    if (cleared.ok()) return;
    spdlog::error("container {}: {}", id(), Message(cleared));
    if (wait >= kRetryMost) return;
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, stop, wait, [] { return false; });
  }
}

}  // namespace stasis::supervisor
