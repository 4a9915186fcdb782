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

int StopSignal(const ContainerRecord& record) {
  return ParseSignal(record.config.stop_signal).value_or(SIGTERM);
}

// A change of the record: what was paused runs.
Status AsResumed(ContainerRecord& record) {
  if (record.state.phase == Phase::kPaused) record.state.phase = Phase::kRunning;
  return {};
}

}  // namespace

StatusOr<backend::Change> Engine::Stop(const std::string& name, const backend::StopOptions& options,
                                       std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(const ContainerRef container, containers_.Find(name));
  STASIS_RETURN_IF_ERROR(container->WaitForStart(cancel));
  const Phase phase = container->phase();
  if (phase == Phase::kRestarting) {
    // It waits for its restart policy: that is called off.
    STASIS_RETURN_IF_ERROR(Change(
        *container,
        [](ContainerRecord& record) -> Status {
          if (record.state.phase == Phase::kRestarting) record.state.phase = Phase::kExited;
          record.stopped_by_user = true;
          return {};
        },
        "stop"));
    return backend::Change::kDone;
  }
  if (!IsAlive(phase)) return backend::Change::kAlreadySo;
  STASIS_RETURN_IF_ERROR(StopAndWait(*container, options, std::move(cancel)));
  Emit(ContainerEvent(container->Record(), "stop", {}));
  return backend::Change::kDone;
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
    Emit(ContainerEvent(record, "kill", {{"signal", std::to_string(signal)}}));
    if (container.phase() == Phase::kPaused) {
      STASIS_RETURN_IF_ERROR(supervisor_->Run(id, cancel));
      STASIS_RETURN_IF_ERROR(Change(container, AsResumed));
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
  return Change(container, [](ContainerRecord& record) -> Status {
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
  STASIS_RETURN_IF_ERROR(container->WaitForStart(std::move(cancel)));
  const ContainerRecord record = container->Record();
  if (!IsAlive(record.state.phase)) {
    return FailedPrecondition("Cannot kill container: " + name + ": Container " + record.id.str() +
                              " is not running");
  }
  const bool ends = signal == SIGKILL || signal == StopSignal(record);
  if (ends) {
    STASIS_RETURN_IF_ERROR(MarkStoppedByUser(*container));
    container->CancelCheckpoint();
  }
  Status status = supervisor_->Signal(record.id.str(), "init", signal, false);
  if (absl::IsNotFound(status)) {
    status = FailedPrecondition("Container " + record.id.str() + " is not running");
  }
  STASIS_RETURN_IF_ERROR(Annotate(status, "Cannot kill container: " + name));
  Emit(ContainerEvent(record, "kill", {{"signal", std::to_string(signal)}}));
  if (ends && record.state.phase == Phase::kPaused) {
    // Frozen, it would take the signal only once somebody thaws it. That it has ended meanwhile is no error.
    supervisor_->Run(record.id.str(), {}).IgnoreError();
  }
  return {};
}

Status Engine::Restart(const std::string& name, const backend::StopOptions& options, std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(const ContainerRef container, containers_.Find(name));
  STASIS_RETURN_IF_ERROR(container->WaitForStart(cancel));
  container->HoldRemoval(true);  // --rm means the end by itself, not this one
  Status status = IsAlive(container->phase()) ? StopAndWait(*container, options, cancel) : Status();
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
  return Change(
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
      Annotate(supervisor_->Run(record.id.str(), turn.cancel()), "Cannot unpause container " + name));
  return Change(*container, AsResumed, "unpause");
}

}  // namespace stasis::engine
