// The container's own files at a restore.
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

void Engine::KeepRestoredFiles(const ContainerId& id) {
  if (const Status kept = images_->KeepUpper(id); !kept.ok())
    spdlog::error("container {}: {}", id.str(), Message(kept));
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

Status Engine::PutFilesBack(const ContainerRecord& record, const RestorePoint& restore,
                            const std::stop_token& cancel) {
  const std::string what = "checkpoint " + restore.name + ": the container's files";
  const std::string store = StoreOf(record, restore.directory);
  const auto finder = OpenStore(store);
  if (!finder.ok()) return Annotate(finder.status(), what);
  const auto entries = ReadLayer(*restore.files, finder->get());
  if (!entries.ok()) return Annotate(entries.status(), what);
  STASIS_ASSIGN_OR_RETURN(const UniqueFd upper, OpenDirectory(images_->UpperDirectory(record.id)));
  const auto same = layer::IsAsCaptured(upper.get(), *entries, cancel);
  if (same.ok() && *same) return {};
  return Annotate(
      images_->ReplaceUpper(
          record.id,
          [&](int directory) { return layer::Rebuild(*entries, finder->get(), directory, nullptr, cancel); }),
      what);
}

}  // namespace stasis::engine
