// Removal, and the new name.
#include "base/log.h"
#include "engine/engine.h"
#include "linux/files.h"

namespace stasis::engine {

Status Engine::Remove(const std::string& name, const backend::RemoveOptions& options) {
  STASIS_ASSIGN_OR_RETURN(const ContainerRef container, containers_.Find(name));
  const ContainerRecord record = container->Record();
  const std::string refused = "cannot remove container \"/" + record.name + "\": container is ";
  if (!options.force) {
    switch (record.state.phase) {
      case Phase::kPaused:
        return FailedPrecondition(refused + "paused and must be unpaused first");
      case Phase::kRunning:
      case Phase::kRestarting:
        return FailedPrecondition(refused + std::string(ToText(record.state.phase)) +
                                  ": stop the container before removing or force remove");
      case Phase::kRemoving:
        return FailedPrecondition("removal of container " + record.id.str() + " is already in progress");
      case Phase::kCreated:
      case Phase::kExited:
      case Phase::kDead:
        break;
    }
  } else {
    STASIS_RETURN_IF_ERROR(MarkStoppedByUser(*container));
    container->CancelWork();
  }
  StatusOr<Turn> turn = container->TakeTurn({});
  if (!turn.ok()) return absl::IsNotFound(turn.status()) ? Status() : turn.status();  // gone meanwhile
  if (IsAlive(container->phase())) {
    if (!options.force)
      return FailedPrecondition(refused + "running: stop the container before removing or force remove");
    STASIS_RETURN_IF_ERROR(
        Annotate(KillAndWait(*container), "cannot remove container \"/" + record.name + "\""));
  }
  return RemoveWithTurn(container);
}

Status Engine::RemoveWithTurn(const ContainerRef& container) {
  const ContainerId id = container->id();
  STASIS_RETURN_IF_ERROR(RecordFact(*container, [](ContainerRecord& record) -> Status {
    record.state.phase = Phase::kRemoving;
    return {};
  }));
  const SafetyCheckpoints::Hold hold(&safety_, id);
  // From here on it is removed: whatever stops us, the next start goes on with it.
  Status status = directories_.MarkRemoved(id);
  const bool had_checkpoints = Exists(directories_.RemovedPath(id) + "/checkpoints") ||
                               Exists(directories_.RemovedPath(id) + "/replaced-files");
  if (status.ok()) status = networks_.Remove(id);
  if (status.ok()) status = images_->RemoveRoot(id);
  if (status.ok()) status = directories_.ClearRemoved(id);
  if (!status.ok()) {
    const Status recorded = RecordFact(*container, [&](ContainerRecord& record) -> Status {
      record.state.phase = Phase::kDead;
      record.state.error = Message(status);
      return {};
    });
    if (!recorded.ok()) spdlog::error("container {}: {}", id.str(), Message(recorded));
    return Annotate(status, "cannot remove container " + id.str());
  }
  if (had_checkpoints) stores_.CollectSoon(options_.paths.CheckpointStore());
  const ContainerRecord record = container->Record();
  const backend::EventMessage event = ContainerEvent(record, "destroy", {});
  RecordRemoval(id, event);
  containers_.Erase(id, record.name);
  execs_.Forget(id.str());
  container->MarkRemoved();
  events_.Publish(event);
  return {};
}

Status Engine::Rename(const std::string& name, const std::string& new_name) {
  STASIS_ASSIGN_OR_RETURN(const ContainerRef container, containers_.Find(name));
  std::string wanted = new_name;
  if (!wanted.empty() && wanted[0] == '/') wanted.erase(0, 1);
  if (wanted.empty()) return InvalidArgument("Neither old nor new names may be empty");
  STASIS_RETURN_IF_ERROR(ContainerName::Parse(wanted).status());
  STASIS_ASSIGN_OR_RETURN(const Turn turn, container->TakeTurn({}));
  const std::string old_name = container->name();
  if (container->Record().unreadable)
    return FailedPrecondition("container " + old_name + " cannot be renamed: its record cannot be read");
  if (wanted == old_name) {
    return InvalidArgument("Renaming a container with the same name as its current name");
  }
  STASIS_RETURN_IF_ERROR(
      Annotate(containers_.ReserveName(wanted, container->id()), "Error when allocating new name"));
  Status status = Change(*container,
                         [&](ContainerRecord& record) -> Status {
                           record.name = wanted;
                           return {};
                         },
                         "rename", {{"oldName", "/" + old_name}});
  containers_.ReleaseName(status.ok() ? old_name : wanted);
  return status;
}

}  // namespace stasis::engine
