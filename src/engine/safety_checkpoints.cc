#include "engine/safety_checkpoints.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include "absl/time/clock.h"
#include "base/log.h"
#include "engine/record_codec.h"
#include "layer/capture.h"
#include "linux/files.h"
#include "manifest/checkpoint_content.h"
#include "manifest/staged_checkpoint.h"
#include "store/writer.h"

namespace stasis::engine {
namespace {

// A restore is not slowed down by the reading of what it has just replaced.
constexpr std::chrono::milliseconds kDelay{500};

// The entries of what will be gone: nothing that is read later is the same file.
std::vector<layer::Entry> WithoutInodes(std::vector<layer::Entry> entries) {
  for (layer::Entry& entry : entries) entry.inode = 0;
  return entries;
}

}  // namespace

SafetyCheckpoints::Hold::Hold(SafetyCheckpoints* owner, ContainerId container)
    : owner_(owner), container_(std::move(container)) {
  owner_->Enter(container_, /*end_other=*/true, {}).IgnoreError();  // without a token it does not fail
}

SafetyCheckpoints::Hold::~Hold() { owner_->Leave(container_); }

std::string SafetyCheckpoints::NameFor(absl::Time replaced_at) {
  return "before-restore-" + absl::FormatTime("%Y-%m-%dT%H-%M-%E3SZ", replaced_at, absl::UTCTimeZone());
}

StatusOr<std::stop_token> SafetyCheckpoints::Enter(const ContainerId& container, bool end_other,
                                                   const std::stop_token& cancel) {
  std::unique_lock lock(mutex_);
  Work& work = work_[container];
  ++work.users;
  if (end_other) work.cancel.request_stop();
  if (!changed_.wait(lock, cancel, [&] { return !work.busy; })) {
    if (--work.users == 0) work_.erase(container);
    return Cancelled("cancelled");
  }
  work.busy = true;
  work.cancel = std::stop_source();
  return work.cancel.get_token();
}

void SafetyCheckpoints::Leave(const ContainerId& container) {
  const std::lock_guard lock(mutex_);
  const auto work = work_.find(container);
  work->second.busy = false;
  if (--work->second.users == 0) work_.erase(work);
  changed_.notify_all();
}

void SafetyCheckpoints::TakeSoon(const ContainerRecord& record) {
  tasks_.PostAfter(kDelay, [this, record](std::stop_token stop) {
    const Status taken = Take(record, {}, stop);
    if (taken.ok() || absl::IsCancelled(taken)) return;
    spdlog::warn("container {}: the files that a restore replaced stay beside its own: {}", record.id.str(),
                 Message(taken));
  });
}

Status SafetyCheckpoints::Take(const ContainerRecord& record, const std::optional<CheckpointName>& superseded,
                               const std::stop_token& cancel) {
  STASIS_ASSIGN_OR_RETURN(const std::stop_token ended, Enter(record.id, /*end_other=*/false, cancel));
  std::stop_source either;
  const std::stop_callback by_caller(cancel, [&] { either.request_stop(); });
  const std::stop_callback by_holder(ended, [&] { either.request_stop(); });
  const Status status = TakeAlone(record, superseded, either.get_token());
  Leave(record.id);
  return status;
}

Status SafetyCheckpoints::TakeAlone(const ContainerRecord& record,
                                    const std::optional<CheckpointName>& superseded,
                                    const std::stop_token& cancel) {
  STASIS_ASSIGN_OR_RETURN(std::vector<image::KeptUpper> all, images_->KeptUppers(record.id));
  // Where nothing could be taken for long, on a full disk, the oldest go as they would otherwise.
  while (all.size() > kSafetyCheckpoints) {
    STASIS_RETURN_IF_ERROR(images_->RemoveKeptUpper(all.front()));
    all.erase(all.begin());
  }
  for (const image::KeptUpper& kept : all) STASIS_RETURN_IF_ERROR(TakeOne(record, kept, cancel));
  if (superseded) {
    const Status removed = DeleteCheckpoint(paths_.ReplacedFiles(record.id), *superseded);
    if (!removed.ok() && !absl::IsNotFound(removed)) return removed;
    stores_->CollectSoon(paths_.CheckpointStore());
  }
  return RemoveOldest(record.id);
}

Status SafetyCheckpoints::TakeOne(const ContainerRecord& record, const image::KeptUpper& kept,
                                  const std::stop_token& cancel) {
  STASIS_ASSIGN_OR_RETURN(const CheckpointName name, CheckpointName::Parse(NameFor(kept.at)));
  const std::string directory = paths_.ReplacedFiles(record.id);
  const auto published = ReadManifest(directory, name);
  if (absl::IsNotFound(published.status())) {
    STASIS_RETURN_IF_ERROR(Store(record, kept, name, cancel));
  } else if (!published.ok()) {
    return published.status();
  }
  // Else an engine died between its publication and this.
  return images_->RemoveKeptUpper(kept);
}

Status SafetyCheckpoints::Store(const ContainerRecord& record, const image::KeptUpper& kept,
                                const CheckpointName& name, const std::stop_token& cancel) {
  const absl::Time began = absl::Now();
  STASIS_ASSIGN_OR_RETURN(StagedCheckpoint staged,
                          StagedCheckpoint::Create(paths_.ReplacedFiles(record.id), name));
  // Until the checkpoint is published, the writer keeps its content from being collected.
  STASIS_ASSIGN_OR_RETURN(const std::unique_ptr<store::Writer> writer,
                          store::Writer::Start(paths_.CheckpointStore()));
  STASIS_ASSIGN_OR_RETURN(UniqueFd directory, OpenDirectory(kept.path));
  layer::Capture capture(
      std::move(directory), writer.get(), [](uint64_t) { return absl::OkStatus(); },
      [] { return std::set<std::string>(); });
  // Files that did not change since the container's last checkpoint are in the store already.
  STASIS_ASSIGN_OR_RETURN(
      std::vector<layer::Entry> earlier,
      LatestLayer(paths_.Checkpoints(record.id), paths_.CheckpointStore(), record.id.str()));
  STASIS_RETURN_IF_ERROR(capture.StartFrom(std::move(earlier)));
  STASIS_RETURN_IF_ERROR(capture.Read(cancel));
  const std::vector<layer::Entry> entries = WithoutInodes(capture.entries());
  const std::string document = layer::ToText(entries);
  STASIS_RETURN_IF_ERROR(writer->Append(document));
  Manifest manifest;
  STASIS_ASSIGN_OR_RETURN(manifest.layer, writer->EndStream());
  STASIS_RETURN_IF_ERROR(writer->Commit());
  manifest.name = name.str();
  manifest.container_id = record.id.str();
  manifest.created = kept.at;
  manifest.layer_files = entries.size();
  manifest.layer_bytes = capture.bytes();
  manifest.bytes = capture.bytes();
  manifest.stored_bytes = writer->stored_bytes();
  manifest.total_us = static_cast<uint64_t>(absl::ToInt64Microseconds(absl::Now() - began));
  manifest.engine_record = EncodeRecord(record);
  STASIS_RETURN_IF_ERROR(WriteManifest(staged.path(), manifest));
  return staged.Publish();
}

StatusOr<std::vector<Manifest>> SafetyCheckpoints::List(const ContainerId& container) const {
  STASIS_ASSIGN_OR_RETURN(const std::vector<FoundCheckpoint> found,
                          FindCheckpoints({paths_.ReplacedFiles(container)}));
  std::vector<Manifest> manifests;
  for (const FoundCheckpoint& one : found) {
    if (one.manifest.ok() && one.manifest->layer && one.manifest->name == one.name)
      manifests.push_back(*one.manifest);
  }
  std::sort(manifests.begin(), manifests.end(),
            [](const Manifest& one, const Manifest& other) { return one.created > other.created; });
  return manifests;
}

Status SafetyCheckpoints::RemoveOldest(const ContainerId& container) {
  STASIS_ASSIGN_OR_RETURN(const std::vector<Manifest> all, List(container));
  for (size_t i = kSafetyCheckpoints; i < all.size(); ++i) {
    STASIS_ASSIGN_OR_RETURN(const CheckpointName name, CheckpointName::Parse(all[i].name));
    STASIS_RETURN_IF_ERROR(DeleteCheckpoint(paths_.ReplacedFiles(container), name));
    stores_->CollectSoon(paths_.CheckpointStore());
  }
  return absl::OkStatus();
}

}  // namespace stasis::engine
