// A run has ended: what is recorded, who is told, and what follows.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "engine/engine.h"
#include "engine/restart_policy.h"
#include "manifest/checkpoint_directory.h"
#include "protocol/shim.h"

namespace stasis::engine {
namespace {

// How long a task is put off at most whose container is busy.
constexpr std::chrono::milliseconds kLongestPoll{200};
constexpr absl::Duration kLongestRestartDelay = absl::Minutes(1);

bool IsDiskFull(const Status& status) {
  return absl::IsResourceExhausted(status) ||
         Message(status).find("No space left on device") != std::string::npos ||
         Message(status).find("no space left on device") != std::string::npos;
}

int64_t SecondsBetween(absl::Time from, absl::Time to) {
  return from == absl::InfinitePast() ? 0 : absl::ToInt64Seconds(to - from);
}

// It counts as its user's stop.
void EndByCheckpoint(ContainerRecord& record) {
  record.exiting_checkpoint.reset();
  record.ended_by_checkpoint = true;
  record.stopped_by_user = true;
}

}  // namespace

void Engine::HandleExit(const ContainerRef& container, const Exit& exit, std::optional<absl::Time> seen) {
  if (!container->MayHandleExit(exit)) return;
  const ContainerRecord before = container->Record();
  if (!IsAlive(before.state.phase) || exit.at < before.state.started_at) return;  // of a run before this one
  // While a checkpoint with exit is being made, what the end means is decided when its answer is there
  // (Settle waits).
  std::optional<absl::Duration> restart;
  const bool by_checkpoint = exit.reason == protocol::kEndedByCheckpoint;
  if (!before.exiting_checkpoint && !by_checkpoint)
    restart = NextRestart(*container, before, exit.code, exit.at);
  const auto ended = [&](ContainerRecord& record) -> Status {
    record.state.phase = restart ? Phase::kRestarting : record.unreadable ? Phase::kDead : Phase::kExited;
    record.state.pid = 0;
    record.state.exit_code = exit.code;
    record.state.oom_killed = exit.oom_killed;
    if (!record.unreadable) record.state.error = by_checkpoint ? "" : exit.reason;
    record.state.finished_at = exit.at;
    if (by_checkpoint) EndByCheckpoint(record);
    return {};
  };
  if (exit.oom_killed) Emit(ContainerEvent(before, "oom", {}));
  const Attributes attributes = {
      {"exitCode", std::to_string(exit.code)},
      {"execDuration", std::to_string(SecondsBetween(before.state.started_at, exit.at))}};
  if (Status status = RecordFact(*container, ended, "die", attributes, seen); !status.ok()) {
    spdlog::error("container {}: its exit could not be recorded: {}", before.id.str(), Message(status));
  }
  execs_.EndAll(before.id.str());
  container->NoteExit();
  const uint64_t exits = container->exits();
  Settle(container, exits);
  if (restart) ScheduleRestart(container, exits, *restart);
}

void Engine::ScheduleRestart(const ContainerRef& container, uint64_t exits, absl::Duration delay) {
  container->SetRestartDelay(delay);
  PostWithTurn(container, absl::ToChronoMilliseconds(delay),
               [this, container, exits](const auto& cancel) { RestartByPolicy(container, exits, cancel); });
}

std::optional<absl::Duration> Engine::NextRestart(const Container& container, const ContainerRecord& record,
                                                  int exit_code, absl::Time at) {
  return RestartDelay({.policy = record.host_config.restart_policy,
                       .maximum = record.host_config.restart_maximum,
                       .restart_count = record.restart_count,
                       .exit_code = exit_code,
                       .stopped_by_user = record.stopped_by_user,
                       .ran_for = at - record.state.started_at,
                       .last_delay = container.restart_delay()});
}

void Engine::PostWithTurn(const ContainerRef& container, std::chrono::milliseconds delay, TurnWork work,
                          std::chrono::milliseconds poll) {
  tasks_.PostAfter(delay, [this, container, work = std::move(work), poll](std::stop_token) {
    const StatusOr<Turn> turn = container->TryTakeTurn();
    if (absl::IsNotFound(turn.status())) return;  // it was removed meanwhile
    if (!turn.ok() || container->checkpointing())
      return PostWithTurn(container, poll, work, std::min(poll * 2, kLongestPoll));
    work(turn->cancel());
  });
}

void Engine::Settle(const ContainerRef& container, uint64_t exits) {
  // Also after a checkpoint: the answer of one with exit comes after the exit itself.
  PostWithTurn(container, {}, [this, container, exits](const auto&) { SettleWithTurn(container, exits); });
}

void Engine::SettleWithTurn(const ContainerRef& container, uint64_t exits) {
  if (container->exits() != exits || IsAlive(container->phase())) return;  // running again
  if (container->Record().exiting_checkpoint) {  // its answer never came: an engine died in between
    const Status resolved = RecordFact(*container, [this](ContainerRecord& changed) -> Status {
      ResolveExitingCheckpoint(changed);
      return {};
    });
    if (!resolved.ok()) return spdlog::error("container {}: {}", container->id().str(), Message(resolved));
  }
  const ContainerRecord record = container->Record();
  ReleaseRunResources(container);
  if (record.state.phase == Phase::kRestarting || record.ended_by_checkpoint) return;
  if (record.host_config.auto_remove) {
    if (container->removal_held()) return;
    if (Status status = RemoveWithTurn(container); !status.ok()) spdlog::error("--rm: {}", Message(status));
    return;
  }
  // One that ended by itself while a checkpoint with exit was being made was not restarted then.
  const auto restart = NextRestart(*container, record, record.state.exit_code, record.state.finished_at);
  if (record.state.phase != Phase::kExited || !restart) return;
  RestartLater(container, exits, *restart);
}

void Engine::RestartLater(const ContainerRef& container, uint64_t exits, absl::Duration delay) {
  const Status status = RecordFact(*container, [](ContainerRecord& changed) -> Status {
    if (changed.stopped_by_user) return Cancelled("its user has stopped it");
    changed.state.phase = Phase::kRestarting;
    return {};
  });
  if (status.ok()) ScheduleRestart(container, exits, delay);
}

void Engine::TellOfRestart(const ContainerRecord& record) {
  if (record.state.checkpoint.empty()) return;
  spdlog::warn("container {}: its restart policy starts it from the beginning, not from checkpoint {}",
               record.id.str(), Printable(record.state.checkpoint));
}

void Engine::RestartByPolicy(const ContainerRef& container, uint64_t exits, const std::stop_token& cancel) {
  if (container->exits() != exits || container->phase() != Phase::kRestarting) return;
  const Status status = RecordFact(*container, [](ContainerRecord& record) -> Status {
    ++record.restart_count;
    return {};
  });
  TellOfRestart(container->Record());
  if (status.ok()) LaunchByPolicy(container, exits, cancel);
}

void Engine::LaunchByPolicy(const ContainerRef& container, uint64_t exits, const std::stop_token& cancel) {
  const Status status = Launch(*container, {}, cancel);
  if (status.ok()) return;
  spdlog::warn("container {}: restart: {}", container->id().str(), Message(status));
  // A full disk says nothing of the container: its policy goes on.
  if (IsDiskFull(status))
    RestartLater(container, exits,
                 std::clamp(container->restart_delay() * 2, absl::Seconds(1), kLongestRestartDelay));
}

void Engine::ResolveExitingCheckpoint(ContainerRecord& record) const {
  if (!record.exiting_checkpoint) return;
  const ExitingCheckpoint checkpoint = *std::exchange(record.exiting_checkpoint, std::nullopt);
  const StatusOr<CheckpointName> name = CheckpointName::Parse(checkpoint.name);
  if (!name.ok() || IsAlive(record.state.phase)) return;
  if (CheckpointExists(checkpoint.directory, *name).value_or(false)) EndByCheckpoint(record);
}

}  // namespace stasis::engine
