// Stop, kill, restart, pause.
#include <csignal>

#include "absl/strings/str_cat.h"
#include "engine/engine.h"
#include "engine/signals.h"

namespace stasis::engine {
namespace {

constexpr int kDefaultStopTimeout = 10;  // seconds
constexpr std::chrono::seconds kKillLimit{30};
constexpr std::chrono::seconds kWordLimit{5};
constexpr std::chrono::seconds kEndLimit{10};  // for a killed container to have ended, as dockerd's

int StopSignal(const ContainerRecord& record) {
  return ParseSignal(record.config.stop_signal).value_or(SIGTERM);
}

// Whether this signal of `docker kill` turns the restart policy off until the next start. As in dockerd any
// does where no stop signal is configured.
bool CountsAsStop(const ContainerRecord& record, int signal) {
  return signal == SIGKILL || record.config.stop_signal.empty() || signal == StopSignal(record);
}

// A change of the record: what was paused runs.
Status AsResumed(ContainerRecord& record) {
  if (record.state.phase == Phase::kPaused) record.state.phase = Phase::kRunning;
  return {};
}

}  // namespace

backend::EventMessage Engine::KillEvent(const ContainerRecord& record, int signal) {
  return ContainerEvent(record, "kill", {{"signal", std::to_string(signal)}});
}

StatusOr<backend::Change> Engine::Stop(const std::string& name, const backend::StopOptions& options,
                                       std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(const ContainerRef container, containers_.Find(name));
  STASIS_RETURN_IF_ERROR(container->WaitForStart(cancel));
  STASIS_ASSIGN_OR_RETURN(const bool called_off, CallOffRestart(container, "stop", cancel));
  if (called_off) return backend::Change::kDone;
  if (!IsAlive(container->phase())) return backend::Change::kAlreadySo;
  STASIS_RETURN_IF_ERROR(StopAndWait(*container, options, std::move(cancel)));
  Emit(ContainerEvent(container->Record(), "stop", {}));
  return backend::Change::kDone;
}

StatusOr<bool> Engine::CallOffRestart(const ContainerRef& container, const std::string& event,
                                      std::stop_token cancel) {
  if (container->phase() != Phase::kRestarting) return false;
  // The policy's own start has the turn: one that has begun comes to its end first.
  STASIS_ASSIGN_OR_RETURN(const Turn turn, container->TakeTurn(std::move(cancel)));
  if (container->phase() != Phase::kRestarting) return false;
  STASIS_RETURN_IF_ERROR(RecordFact(
      *container,
      [](ContainerRecord& record) -> Status {
        record.state.phase = Phase::kExited;
        record.stopped_by_user = true;
        return {};
      },
      event));
  return true;
}

Status Engine::StopAndWait(Container& container, const backend::StopOptions& options,
                           std::stop_token cancel) {
  const ContainerRecord record = container.Record();
  int signal = StopSignal(record);
  if (!options.signal.empty()) {
    STASIS_ASSIGN_OR_RETURN(signal, ParseSignal(options.signal));
  }
  const int timeout = options.timeout.value_or(record.config.stop_timeout.value_or(kDefaultStopTimeout));
  STASIS_RETURN_IF_ERROR(MarkStoppedByUser(container));

  const uint64_t exits = container.exits();
  if (!IsAlive(container.phase())) return {};

  const std::string id = container.id().str();
  // While it is frozen for a checkpoint the shim keeps the signal back: it would be saved with it.
  Status status = supervisor_->Signal(id, "init", signal, false);
  if (status.ok()) {
    Emit(KillEvent(record, signal));
    if (container.phase() == Phase::kPaused) {
      // That it has ended by the signal meanwhile is no error: its exit is on the way.
      const Status resumed = supervisor_->Run(id, {}, cancel);
      if (!resumed.ok() && !absl::IsNotFound(resumed)) return resumed;
      if (resumed.ok()) {
        STASIS_RETURN_IF_ERROR(RecordFact(container, AsResumed));
      }
    }
    const Deadline deadline = timeout < 0 ? kNoDeadline : After(std::chrono::seconds(timeout));
    status = WaitForExit(container, exits, deadline, cancel);
    if (!absl::IsDeadlineExceeded(status)) return status;
  }
  return KillAndWait(container);
}

Status Engine::WaitForExit(Container& container, uint64_t exits_before, Deadline deadline,
                           std::stop_token cancel) {
  return container.WaitUntil([&](const ContainerRecord&, uint64_t exits) { return exits > exits_before; },
                             deadline, std::move(cancel));
}

Status Engine::KillAndWait(Container& container) {
  const std::string id = container.id().str();
  const uint64_t exits = container.exits();
  if (!IsAlive(container.phase())) return {};
  container.CancelCheckpoint();
  Status status = supervisor_->Signal(id, "init", SIGKILL, true);
  if (status.ok()) Emit(KillEvent(container.Record(), SIGKILL));
  if (!status.ok() && !absl::IsNotFound(status) && !absl::IsFailedPrecondition(status)) return status;
  if (absl::IsNotFound(status)) {
    // It has ended, and word of that is on the way, or was lost.
    if (WaitForExit(container, exits, After(kWordLimit), {}).ok()) return {};
    RecoverLost(container.shared_from_this());
  }
  status = WaitForExit(container, exits, After(kKillLimit), {});
  if (absl::IsDeadlineExceeded(status) && IsAlive(container.phase())) {
    return Internal(absl::StrCat("Could not kill container ", id, ": it has not ended ", kKillLimit.count(),
                                 " s after SIGKILL"));
  }
  return {};
}

Status Engine::MarkStoppedByUser(Container& container) {
  return RecordFact(container, [](ContainerRecord& record) -> Status {
    record.stopped_by_user = true;
    return {};
  });
}

Status Engine::Kill(const std::string& name, const std::string& signal_text, std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(const ContainerRef container, containers_.Find(name));
  int signal = SIGKILL;
  if (!signal_text.empty()) {
    STASIS_ASSIGN_OR_RETURN(signal, ParseSignal(signal_text));
  }
  const Status status = KillRunning(container, signal, cancel);
  return Annotate(status, "Cannot kill container: " + name);
}

Status Engine::KillRunning(const ContainerRef& container, int signal, const std::stop_token& cancel) {
  const bool ends = signal == SIGKILL || signal == StopSignal(container->Record());
  for (;;) {  // it may end, and be started by its policy, at any time
    STASIS_RETURN_IF_ERROR(container->WaitForStart(cancel));
    // There is no process that could get the signal. One that would have ended it ends its restarts.
    if (!ends && container->phase() == Phase::kRestarting) return {};
    if (ends) {
      STASIS_ASSIGN_OR_RETURN(const bool called_off, CallOffRestart(container, "", cancel));
      if (called_off) return {};
    }
    const uint64_t exits = container->exits();
    const Status status = SignalInit(*container, signal, ends);
    if (!absl::IsNotFound(status)) return status;
    // It has ended by itself, and word of that is on the way.
    const bool told = ends && WaitForExit(*container, exits, After(kWordLimit), cancel).ok();
    if (!told) return FailedPrecondition("Container " + container->id().str() + " is not running");
    if (container->phase() != Phase::kRestarting) return {};
  }
}

Status Engine::SignalInit(Container& container, int signal, bool ends) {
  const uint64_t exits = container.exits();
  const ContainerRecord record = container.Record();
  const std::string id = record.id.str();
  if (!IsAlive(record.state.phase)) return FailedPrecondition("Container " + id + " is not running");
  const bool stops = CountsAsStop(record, signal);
  if (stops) {
    STASIS_RETURN_IF_ERROR(MarkStoppedByUser(container));
  }
  if (ends) container.CancelCheckpoint();
  STASIS_RETURN_IF_ERROR(supervisor_->Signal(id, "init", signal, false));
  Emit(KillEvent(record, signal));
  if (stops && record.state.phase == Phase::kPaused) {
    // Frozen, it would take the signal only once somebody thaws it. That it has ended meanwhile is no error.
    const bool resumed = supervisor_->Run(id, {}, {}).ok();
    if (resumed && container.phase() == Phase::kPaused) {
      Change(container, AsResumed, "unpause").IgnoreError();  // the signal was sent all the same
    }
  }
  if (signal != SIGKILL) return {};
  // As dockerd: who is told that it was killed can remove it.
  if (absl::IsDeadlineExceeded(WaitForExit(container, exits, After(kEndLimit), {})))
    return Internal("tried to kill container, but did not receive an exit event");
  return {};
}

Status Engine::Restart(const std::string& name, const backend::StopOptions& options, std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(const ContainerRef container, containers_.Find(name));
  STASIS_RETURN_IF_ERROR(container->WaitForStart(cancel));
  container->HoldRemoval(true);  // --rm means the end by itself, not this one
  Status status;
  if (IsAlive(container->phase())) {
    status = StopAndWait(*container, options, cancel);
    if (status.ok()) Emit(ContainerEvent(container->Record(), "stop", {}));
  }
  if (status.ok()) status = Start(container->id().str(), {}, cancel).status();
  container->HoldRemoval(false);
  STASIS_RETURN_IF_ERROR(Annotate(status, "Cannot restart container " + name));
  Emit(ContainerEvent(container->Record(), "restart", {}));
  return {};
}

Status Engine::Pause(const std::string& name) {
  STASIS_ASSIGN_OR_RETURN(const ContainerRef container, containers_.Find(name));
  STASIS_ASSIGN_OR_RETURN(const Turn turn, container->TakeTurn({}));
  const ContainerRecord record = container->Record();
  if (record.state.phase == Phase::kPaused) {
    return FailedPrecondition("Container " + record.id.str() + " is already paused");
  }
  if (record.state.phase == Phase::kRestarting) {
    return FailedPrecondition("Container " + record.id.str() +
                              " is restarting, wait until the container is running");
  }
  if (record.state.phase != Phase::kRunning) {
    return FailedPrecondition("Container " + record.id.str() + " is not running");
  }
  STASIS_RETURN_IF_ERROR(
      Annotate(supervisor_->Pause(record.id.str(), turn.cancel()), "Cannot pause container " + name));
  // That it stands still is a fact, which an engine that starts asks the supervisor for.
  return RecordFact(
      *container,
      [](ContainerRecord& changed) -> Status {
        if (changed.state.phase == Phase::kRunning) changed.state.phase = Phase::kPaused;
        return {};
      },
      "pause");
}

Status Engine::Unpause(const std::string& name) {
  STASIS_ASSIGN_OR_RETURN(const ContainerRef container, containers_.Find(name));
  STASIS_ASSIGN_OR_RETURN(const Turn turn, container->TakeTurn({}));
  const ContainerRecord record = container->Record();
  if (record.state.phase != Phase::kPaused) {
    return FailedPrecondition("Container " + record.id.str() + " is not paused");
  }
  STASIS_RETURN_IF_ERROR(
      Annotate(supervisor_->Run(record.id.str(), {}, turn.cancel()), "Cannot unpause container " + name));
  return RecordFact(*container, AsResumed, "unpause");
}

}  // namespace stasis::engine
