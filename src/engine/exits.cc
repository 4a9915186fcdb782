// A run has ended: what is recorded, who is told, and what follows.
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "engine/engine.h"
#include "engine/restart_policy.h"
#include "manifest/checkpoint_directory.h"
#include "protocol/shim.h"

namespace stasis::engine {
namespace {

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
  if (Status status = Change(*container, ended, "die", attributes, seen); !status.ok()) {
    spdlog::error("container {}: its exit could not be recorded: {}", before.id.str(), Message(status));
  }
  execs_.EndAll(before.id.str());
  container->NoteExit();
  const uint64_t exits = container->exits();
  tasks_.Post([this, container, exits](std::stop_token stop) { Settle(container, exits, stop); });
  if (restart) ScheduleRestart(container, exits, *restart);
}

void Engine::ScheduleRestart(const ContainerRef& container, uint64_t exits, absl::Duration delay) {
  container->SetRestartDelay(delay);
  tasks_.PostAfter(absl::ToChronoMilliseconds(delay), [this, container, exits](std::stop_token stop) {
    RestartByPolicy(container, exits, stop);
  });
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

void Engine::Settle(const ContainerRef& container, uint64_t exits, std::stop_token stop) {
  // The answer of a checkpoint with exit comes after the exit itself.
  if (!container->WaitForCheckpoint(kNoDeadline, stop).ok()) return;
  const StatusOr<Turn> turn = container->TakeTurn(stop);
  if (!turn.ok() || container->exits() != exits) return;  // removed, or running again
  if (IsAlive(container->phase())) return;
  if (container->Record().exiting_checkpoint) {  // its answer never came: an engine died in between
    const Status resolved = Change(*container, [this](ContainerRecord& changed) -> Status {
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
  const Status status = Change(*container, [](ContainerRecord& changed) -> Status {
    changed.state.phase = Phase::kRestarting;
    return {};
  });
  if (status.ok()) ScheduleRestart(container, exits, *restart);
}

void Engine::TellOfRestart(const ContainerRecord& record) {
  if (record.state.checkpoint.empty()) return;
  spdlog::warn("container {}: its restart policy starts it from the beginning, not from checkpoint {}",
               record.id.str(), Printable(record.state.checkpoint));
}

void Engine::RestartByPolicy(const ContainerRef& container, uint64_t exits, std::stop_token stop) {
  const StatusOr<Turn> turn = container->TakeTurn(stop);
  if (!turn.ok() || container->exits() != exits || container->phase() != Phase::kRestarting) return;
  Status status = Change(*container, [](ContainerRecord& record) -> Status {
    ++record.restart_count;
    return {};
  });
  TellOfRestart(container->Record());
  if (status.ok()) status = Launch(*container, {}, turn->cancel());
  if (!status.ok()) spdlog::warn("container {}: restart: {}", container->id().str(), Message(status));
}

void Engine::ResolveExitingCheckpoint(ContainerRecord& record) const {
  if (!record.exiting_checkpoint) return;
  const ExitingCheckpoint checkpoint = *std::exchange(record.exiting_checkpoint, std::nullopt);
  const StatusOr<CheckpointName> name = CheckpointName::Parse(checkpoint.name);
  if (!name.ok() || IsAlive(record.state.phase)) return;
  if (CheckpointExists(checkpoint.directory, *name).value_or(false)) EndByCheckpoint(record);
}

}  // namespace stasis::engine
