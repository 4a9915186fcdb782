// The supervisor's events as they come, and how things are found again when it, or the engine, was away.
#include <csignal>

#include "base/log.h"
#include "engine/engine.h"
#include "engine/leftovers.h"
#include "engine/restart_policy.h"
#include "engine/supervisor_link.h"
#include "manifest/checkpoint_directory.h"

namespace stasis::engine {
namespace {

constexpr std::chrono::milliseconds kReconnectFirst{100};
constexpr std::chrono::milliseconds kReconnectLast{2000};
constexpr int kLostCode = 255;

}  // namespace

Status Engine::Start(Deadline deadline, std::stop_token cancel) {
  // Before any exit is heard of: what is recorded as running was restored.
  for (const ContainerRef& container : containers_.All()) {
    if (IsAlive(container->phase())) KeepRestoredFiles(container->Record());
  }
  follower_ = std::jthread([this](std::stop_token stop) { FollowSupervisor(stop); });
  {
    std::unique_lock lock(follow_mutex_);
    if (!follow_changed_.wait_until(lock, cancel, deadline, [&] { return known_; })) {
      if (cancel.stop_requested()) return Cancelled("the start was cancelled");
      return Unavailable("the supervisor has not said how the containers are");
    }
  }
  FinishInterrupted();
  stores_.CollectSoon(options_.paths.CheckpointStore());
  return {};
}

void Engine::FollowSupervisor(std::stop_token stop) {
  std::chrono::milliseconds pause = kReconnectFirst;
  while (!stop.stop_requested()) {
    const StatusOr<absl::Time> seen = store_->SupervisorSeen();
    const absl::Time since = seen.ok() && *seen > absl::UnixEpoch() ? *seen : absl::UnixEpoch();
    const Status status = supervisor_->FollowEvents(
        since,
        [&](const types::Event& event) {
          pause = kReconnectFirst;
          HandleEvent(event);
        },
        stop);
    if (stop.stop_requested()) return;
    spdlog::warn("the supervisor's events: {}", Message(status));
    std::unique_lock lock(follow_mutex_);
    follow_changed_.wait_for(lock, stop, pause, [] { return false; });
    pause = std::min(pause * 2, kReconnectLast);
  }
}

void Engine::HandleEvent(const types::Event& event) {
  if (event.type() == "live") {
    if (Status status = Reconcile(); !status.ok()) {
      spdlog::warn("finding the containers again: {}", Message(status));
      return;
    }
    const std::lock_guard lock(follow_mutex_);
    known_ = true;
    follow_changed_.notify_all();
    return;
  }
  if (event.type() != "exit") return;  // of all else the engine knows, having asked for it
  const StatusOr<ContainerRef> container = containers_.Find(event.id());
  if (!container.ok()) return;
  const int code = static_cast<int>(event.status());
  if (event.pid() != "init") return HandleExecExit(event.pid(), code);
  const absl::Time at = FromProto(event.timestamp());
  HandleExit(*container, {code, event.oom_killed(), at, event.reason()}, at);
}

// What the replayed events did not tell: a reboot, a supervisor whose state was lost, an engine that died in
// a start.
Status Engine::Reconcile() {
  STASIS_ASSIGN_OR_RETURN(const std::vector<types::Container> list, supervisor_->State(""));
  std::map<std::string, const types::Container*> running;
  for (const types::Container& one : list) running[one.id()] = &one;
  for (const ContainerRef& container : containers_.All()) {
    if (container->starting()) continue;
    const auto found = running.find(container->id().str());
    if (found != running.end()) {
      Adopt(*container, *found->second);
    } else if (IsAlive(container->phase())) {
      RecoverLost(container);
    }
  }
  return {};
}

void Engine::Adopt(Container& container, const types::Container& running) {
  if (running.status() == "stopped" && IsAlive(container.phase())) return;  // its exit is on its way
  if (running.status() == "created" || running.status() == "stopped") {
    // An engine died between making and running it, or in a restore that failed. Its exit has nothing to say
    // to anybody.
    supervisor_->Signal(running.id(), "init", SIGKILL, true).IgnoreError();
    return;
  }
  KeepRestoredFiles(container.Record());
  container.SetAttachSocket(running.attach_socket());
  const Phase phase = running.status() == "paused" ? Phase::kPaused : Phase::kRunning;
  if (container.phase() == phase) return;
  const Status status = RecordFact(container, [&](ContainerRecord& record) -> Status {
    if (!CanMove(record.state.phase, phase) && !record.unreadable) return {};
    if (!IsAlive(record.state.phase)) {  // an engine died between its start and the record of it
      record.state.started_at = running.has_started_at() ? FromProto(running.started_at()) : absl::Now();
      record.state.checkpoint = ShownCheckpoint(record.id, running.restored_from());
      if (!record.unreadable) record.state.error.clear();
      record.stopped_by_user = false;
      record.ended_by_checkpoint = false;
      for (const types::Process& process : running.processes()) {
        if (process.pid() == "init") record.state.pid = static_cast<int>(process.systempid());
      }
    }
    record.state.phase = phase;
    return {};
  });
  if (!status.ok()) spdlog::error("container {}: {}", running.id(), Message(status));
}

void Engine::RecoverLost(const ContainerRef& container) {
  const ContainerRecord record = container->Record();
  Exit exit{kLostCode, false, absl::Now(), "its shim is gone"};
  const StatusOr<std::vector<types::Event>> events =
      supervisor_->PastEvents(record.state.started_at, record.id.str());
  if (events.ok()) {
    for (const types::Event& event : *events) {
      if (event.type() != "exit" || event.pid() != "init") continue;
      exit = {static_cast<int>(event.status()), event.oom_killed(), FromProto(event.timestamp()),
              event.reason()};
    }
  }
  if (Status status = EndLeftovers(record.id); !status.ok())
    spdlog::error("container {}: {}", record.id.str(), Message(status));
  spdlog::warn("container {}: found ended, exit code {} {}", record.id.str(), exit.code, exit.reason);
  HandleExit(container, exit, {});
}

Status Engine::EndLeftovers(const ContainerId& id) {
  if (!HasCgroup(id)) return {};
  STASIS_ASSIGN_OR_RETURN(const std::vector<types::Container> found, supervisor_->State(id.str()));
  return found.empty() ? engine::EndLeftovers(id) : Status();
}

// What a crash left half done, and what is to run whenever the engine does.
void Engine::FinishInterrupted() {
  for (const ContainerRef& container : containers_.All()) {
    if (container->Record().exiting_checkpoint) {
      const Status status = RecordFact(*container, [&](ContainerRecord& record) -> Status {
        ResolveExitingCheckpoint(record);
        return {};
      });
      if (!status.ok()) spdlog::error("container {}: {}", container->id().str(), Message(status));
    }
    const ContainerRecord record = container->Record();
    const uint64_t exits = container->exits();
    if (!IsAlive(record.state.phase)) {
      if (const Status status = EndLeftovers(record.id); !status.ok())
        spdlog::error("container {}: {}", record.id.str(), Message(status));
      RevertFiles(record.id);  // an engine died in a restore that came to nothing
      // What an earlier engine had kept and not yet taken into the store.
      const auto kept = images_->KeptUppers(record.id);
      if (kept.ok() && !kept->empty()) safety_.TakeSoon(record);
      // Only a machine that went down, or a maker that died with its shim, leaves something made aside.
      for (const std::string& directory :
           {options_.paths.Checkpoints(record.id), options_.paths.ReplacedFiles(record.id)}) {
        const Status status = RemoveLeftovers(directory);
        if (!status.ok()) spdlog::warn("container {}: {}", record.id.str(), Message(status));
      }
    }
    if (record.state.phase == Phase::kRemoving) {
      PostWithTurn(container, {}, [this, container](const auto&) {
        if (const Status status = RemoveWithTurn(container); !status.ok())
          spdlog::error("container {}: {}", container->id().str(), Message(status));
      });
    } else if (record.state.phase == Phase::kRestarting ||
               (record.state.phase == Phase::kExited && !record.ended_by_checkpoint &&
                StartsWithEngine(record.host_config.restart_policy, record.stopped_by_user))) {
      TellOfRestart(record);
      PostWithTurn(container, {}, [this, container, exits](const auto& cancel) {
        const Phase phase = container->phase();
        if (container->exits() != exits || (phase != Phase::kRestarting && phase != Phase::kExited)) return;
        LaunchByPolicy(container, exits, cancel);
      });
    } else if (!IsAlive(record.state.phase) && record.state.phase != Phase::kCreated) {
      Settle(container, exits);
    }
  }
  const Status status = networks_.RemoveOthers([this](const ContainerId& id) {
    const StatusOr<ContainerRef> container = containers_.Find(id.str());
    return container.ok() && (*container)->phase() != Phase::kExited;
  });
  if (!status.ok()) spdlog::warn("network namespaces: {}", Message(status));
}

}  // namespace stasis::engine
