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

Status Engine::PutFilesBack(const ContainerRecord& record, RestorePoint* restore,
                            const std::stop_token& cancel) {
  const std::string what = "checkpoint " + restore->name + ": the container's files";
  const std::string store = StoreOf(record, restore->directory);
  if (!Exists(store)) return DataLoss(what + ": the store " + store + " is not there");
  STASIS_ASSIGN_OR_RETURN(const std::unique_ptr<store::PageFinder> finder, store::PageFinder::Open(store));
  const auto entries = ReadLayer(*restore->files, finder.get());
  if (!entries.ok()) return Annotate(entries.status(), what);
  STASIS_ASSIGN_OR_RETURN(const UniqueFd upper, OpenDirectory(images_->UpperDirectory(record.id)));
  const auto same = layer::IsAsCaptured(upper.get(), *entries, cancel);
  if (same.ok() && *same) return {};
  const Status status = images_->ReplaceUpper(record.id, [&](int directory) {
    return layer::Rebuild(*entries, finder.get(), directory, nullptr, cancel);
  });
  restore->files_replaced = status.ok();
  return Annotate(status, what);
}

}  // namespace stasis::engine
