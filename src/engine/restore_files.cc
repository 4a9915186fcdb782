// The container's own files at a restore.
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "engine/engine.h"
#include "layer/capture.h"
#include "layer/rebuild.h"
#include "linux/files.h"
#include "manifest/checkpoint_content.h"

namespace stasis::engine {
namespace {

// "no": checkpoints are made without the container's files, and restores leave them as they are.
constexpr char kFilesLabel[] = "stasis.checkpoint.files";

}  // namespace

bool Engine::KeepsFiles(const ContainerRecord& record) {
  const auto label = record.config.labels.find(kFilesLabel);
  return label == record.config.labels.end() || label->second != "no";
}

std::optional<std::string> Engine::KeepRestoredFiles(const ContainerRecord& record) {
  const bool replaced = images_->IsUpperReplaced(record.id);
  const Status status = images_->KeepUpper(record.id);
  const auto kept = images_->KeptUppers(record.id);
  if (!status.ok() || !kept.ok()) {
    spdlog::error("container {}: {}", record.id.str(), Message(status.ok() ? kept.status() : status));
    return std::nullopt;
  }
  if (kept->empty()) return std::nullopt;
  safety_.TakeSoon(record);
  return replaced ? std::optional(SafetyCheckpoints::NameFor(kept->back().at)) : std::nullopt;
}

void Engine::RevertFiles(const ContainerId& id) {
  if (const Status reverted = images_->RevertUpper(id); !reverted.ok())
    spdlog::error("container {}: {}", id.str(), Message(reverted));
}

Status Engine::RevertFilesOfDeadStart(const ContainerId& id) {
  if (!images_->IsUpperReplaced(id)) return {};
  // Its shim may still be at it, where the supervisor died under us: then these are its files.
  const auto found = supervisor_->State(id.str());
  if (!found.ok() && !absl::IsNotFound(found.status())) return found.status();
  if (found.ok() && !found->empty()) return Unavailable("a restore that was interrupted is not over yet");
  return images_->RevertUpper(id);
}

StatusOr<UniqueFd> Engine::PutFilesBack(const ContainerRecord& record, const RestorePoint& restore,
                                        const std::stop_token& cancel) {
  const std::string what = "checkpoint " + restore.name + ": the container's files";
  const std::string store = StoreOf(record, restore.directory);
  const auto finder = OpenStore(store);
  if (!finder.ok()) return Annotate(finder.status(), what);
  const auto entries = ReadLayer(*restore.files, finder->get());
  if (!entries.ok()) return Annotate(entries.status(), what);
  STASIS_ASSIGN_OR_RETURN(UniqueFd upper, OpenDirectory(images_->UpperDirectory(record.id)));
  const auto same = layer::IsAsCaptured(upper.get(), *entries, cancel);
  if (same.ok() && *same) return UniqueFd();
  STASIS_RETURN_IF_ERROR(Annotate(images_->ReplaceUpper(record.id,
                                                        [&](int directory) {
                                                          return layer::Rebuild(*entries, finder->get(),
                                                                                directory, nullptr, cancel);
                                                        }),
                                  what));
  return upper;
}

// One syncfs(2) takes a fraction of the time of an fsync(2) for each of many files (docs/adr/0003); it tells
// of errors since its descriptor was opened.
Status Engine::SyncFiles(const UniqueFd& put_back) {
  if (put_back.get() < 0 || ::syncfs(put_back.get()) == 0) return {};
  return ErrnoError(errno, "write the container's files to the disk");
}

StatusOr<backend::UndoneRestore> Engine::UndoRestore(const std::string& container_name,
                                                     const std::string& raw_name, std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(const ContainerRef container, containers_.Find(container_name));
  STASIS_ASSIGN_OR_RETURN(const Turn turn, container->TakeTurn(cancel));
  const ContainerRecord record = container->Record();
  if (IsAlive(record.state.phase) || record.state.phase == Phase::kRestarting) {
    return FailedPrecondition("container " + record.name + " is " + std::string(ToText(record.state.phase)) +
                              ": stop it before its files are replaced");
  }
  if (record.state.phase == Phase::kRemoving || record.state.phase == Phase::kDead)
    return FailedPrecondition("container is marked for removal and its files cannot be replaced");
  STASIS_RETURN_IF_ERROR(RevertFilesOfDeadStart(record.id));
  STASIS_RETURN_IF_ERROR(Annotate(safety_.Take(record, {}, cancel), "what the last restore replaced"));
  STASIS_ASSIGN_OR_RETURN(const std::vector<Manifest> all, safety_.List(record.id));
  const auto wanted = std::find_if(all.begin(), all.end(), [&](const Manifest& manifest) {
    return raw_name.empty() || manifest.name == raw_name;
  });
  if (wanted == all.end()) {
    return NotFound(raw_name.empty()
                        ? "no restore has replaced files of container " + record.name
                        : "no files of container " + record.name + " are kept as " + Printable(raw_name));
  }
  STASIS_ASSIGN_OR_RETURN(const CheckpointName name, CheckpointName::Parse(wanted->name));
  STASIS_ASSIGN_OR_RETURN(
      const UniqueFd put_back,
      PutFilesBack(record, {name.str(), options_.paths.ReplacedFiles(record.id), false, *wanted}, cancel));
  // These files have no other copy once their checkpoint is removed.
  STASIS_RETURN_IF_ERROR(SyncFiles(put_back));
  STASIS_RETURN_IF_ERROR(images_->KeepUpper(record.id));
  STASIS_ASSIGN_OR_RETURN(const std::vector<image::KeptUpper> kept, images_->KeptUppers(record.id));
  backend::UndoneRestore undone{name.str(), ""};
  if (!kept.empty()) undone.kept = SafetyCheckpoints::NameFor(kept.back().at);
  // The container has these files again: its checkpoint is removed once what they replaced is kept. Where
  // that cannot be stored now, both stay until it can.
  if (const Status taken = safety_.Take(record, name, {}); !taken.ok()) {
    spdlog::warn("container {}: the files that an undo replaced stay beside its own: {}", record.id.str(),
                 Message(taken));
  }
  Emit(ContainerEvent(record, "checkpoint-undo", {{"checkpoint", name.str()}}));
  return undone;
}

}  // namespace stasis::engine
