#include "engine/checkpoint_stores.h"

#include <chrono>
#include <filesystem>
#include <memory>
#include <tuple>
#include <utility>

#include "base/log.h"
#include "linux/files.h"
#include "manifest/checkpoint_content.h"
#include "manifest/checkpoint_directory.h"
#include "manifest/checkpoint_owner.h"
#include "store/store_files.h"
#include "store/usage.h"
#include "store/verifier.h"

namespace stasis::engine {
namespace {

// So that the many deletions of a script cost one collection.
constexpr std::chrono::milliseconds kDelay{500};

uint64_t BytesOf(const std::vector<store::StreamId>& streams) {
  uint64_t bytes = 0;
  for (const store::StreamId& stream : streams) bytes += stream.size;
  return bytes;
}

// What a verification reads first, about.
uint64_t BytesOfPacks(const std::string& store) {
  uint64_t bytes = 0;
  const auto ids = store::ListPacks(store);
  if (!ids.ok()) return 0;
  for (const store::PackId id : *ids) {
    std::error_code error;
    const uint64_t size =
        std::filesystem::file_size(store::PacksPath(store) + "/" + store::PackName(id), error);
    if (!error) bytes += size;
  }
  return bytes;
}

Status Check(const FoundCheckpoint& checkpoint, const std::string& store, store::Verifier* verifier,
             ProgressMeter& meter, const std::stop_token& cancel) {
  STASIS_RETURN_IF_ERROR(checkpoint.manifest.status());
  if (verifier == nullptr) return DataLoss("its store " + store + " is not there");
  STASIS_ASSIGN_OR_RETURN(const std::vector<store::StreamId> streams,
                          StreamsOf(*checkpoint.manifest, verifier->finder()));
  for (const store::StreamId& stream : streams) {
    STASIS_RETURN_IF_ERROR(verifier->CheckStream(stream, cancel));
    meter.Add(stream.size);
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<std::vector<std::string>> CheckpointStores::DirectoriesOf(const std::string& store) const {
  std::vector<std::string> directories;
  if (store != paths_.CheckpointStore()) {
    directories.push_back(store.substr(0, store.rfind('/')));
    return directories;
  }
  // As the disk has them: a container that is being removed is in no table.
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> ids, ListDirectory(paths_.Containers()));
  for (const std::string& raw : ids) {
    const auto id = ContainerId::Parse(raw);
    if (!id.ok()) continue;
    directories.push_back(paths_.Checkpoints(*id));
    directories.push_back(paths_.ReplacedFiles(*id));
  }
  return directories;
}

std::pair<std::string, std::string> CheckpointStores::OwnerOf(const FoundCheckpoint& found) const {
  // DIRECTORY is ROOT/containers/ID/checkpoints, or its sibling, or one that a user named.
  const std::string parent = found.directory.substr(0, found.directory.rfind('/'));
  if (parent.starts_with(paths_.Containers() + "/")) {
    std::string id = parent.substr(paths_.Containers().size() + 1);
    std::string name = name_of_(id);
    return {std::move(id), std::move(name)};
  }
  if (!found.manifest.ok()) return {};
  return {found.manifest->container_id, stasis::OwnerOf(*found.manifest).name};
}

StatusOr<store::Collected> CheckpointStores::Collect(const std::string& store, ProgressMeter& meter,
                                                     const std::stop_token& cancel) {
  const std::lock_guard lock(collecting_);
  if (!Exists(store)) return store::Collected{};
  return store::CollectGarbage(
      store,
      [&]() -> StatusOr<std::vector<store::StreamId>> {
        STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> directories, DirectoriesOf(store));
        STASIS_ASSIGN_OR_RETURN(std::vector<store::StreamId> streams, StreamsOf(directories, store));
        meter.Begin("checkpoints", BytesOf(streams));
        return streams;
      },
      cancel, [&](uint64_t bytes) { meter.Add(bytes); });
}

void CheckpointStores::CollectSoon(const std::string& store) {
  {
    const std::lock_guard lock(mutex_);
    if (!waiting_.insert(store).second) return;
  }
  tasks_.PostAfter(kDelay, [this, store](std::stop_token stop) {
    {
      const std::lock_guard lock(mutex_);
      waiting_.erase(store);
    }
    ProgressMeter untold({}, {});
    const StatusOr<store::Collected> collected = Collect(store, untold, stop);
    if (absl::IsUnavailable(collected.status())) {
      CollectSoon(store);
    } else if (!collected.ok() && !absl::IsCancelled(collected.status())) {
      spdlog::warn("{}: no space is given back: {}", store, Message(collected.status()));
    }
  });
}

StatusOr<backend::CheckpointVerification> CheckpointStores::Verify(const std::string& store,
                                                                   ProgressMeter& meter,
                                                                   const std::stop_token& cancel) const {
  backend::CheckpointVerification result;
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> directories, DirectoriesOf(store));
  STASIS_ASSIGN_OR_RETURN(const std::vector<FoundCheckpoint> found, FindCheckpoints(directories));
  std::unique_ptr<store::Verifier> verifier;
  if (Exists(store)) {
    STASIS_ASSIGN_OR_RETURN(verifier, store::Verifier::Open(store));
    meter.Begin("packs", BytesOfPacks(store));
    STASIS_RETURN_IF_ERROR(verifier->ReadPacks([&](uint64_t bytes) { meter.Add(bytes); }, cancel));
    result.damage = verifier->damage();
    result.bytes = verifier->bytes();
  }
  uint64_t bytes = 0;
  for (const FoundCheckpoint& checkpoint : found)
    bytes += checkpoint.manifest.ok() ? checkpoint.manifest->bytes : 0;
  meter.Begin("checkpoints", bytes);
  for (const FoundCheckpoint& checkpoint : found) {
    ++result.checkpoints;
    const Status status = Check(checkpoint, store, verifier.get(), meter, cancel);
    if (absl::IsCancelled(status)) return status;
    if (status.ok()) continue;
    auto [container, name] = OwnerOf(checkpoint);
    result.damaged.push_back({std::move(container), checkpoint.name, Message(status), std::move(name)});
  }
  return result;
}

StatusOr<std::vector<backend::CheckpointUsage>> CheckpointStores::Measure(
    const std::string& store, ProgressMeter& meter, const std::stop_token& cancel) const {
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> directories, DirectoriesOf(store));
  STASIS_ASSIGN_OR_RETURN(const std::vector<FoundCheckpoint> found, FindCheckpoints(directories));
  std::vector<backend::CheckpointUsage> result;
  std::vector<std::vector<store::StreamId>> owners;
  if (found.empty()) return result;
  // Where a user removed the store all are damaged; none is made.
  if (!Exists(store)) return NotFound("the store " + store + " of these checkpoints is not there");
  STASIS_ASSIGN_OR_RETURN(const std::unique_ptr<store::PageFinder> finder, store::PageFinder::Open(store));
  for (const FoundCheckpoint& checkpoint : found) {
    auto streams = checkpoint.manifest.ok() ? StreamsOf(*checkpoint.manifest, finder.get())
                                            : checkpoint.manifest.status();
    backend::CheckpointUsage& one = result.emplace_back();
    std::tie(one.container, one.container_name) = OwnerOf(checkpoint);
    one.name = checkpoint.name;
    if (checkpoint.manifest.ok()) one.bytes = checkpoint.manifest->bytes;
    if (!streams.ok()) one.damage = Message(streams.status());
    owners.push_back(streams.ok() ? *std::move(streams) : std::vector<store::StreamId>());
  }
  uint64_t bytes = 0;
  for (const std::vector<store::StreamId>& streams : owners) bytes += BytesOf(streams);
  meter.Begin("checkpoints", bytes);
  STASIS_ASSIGN_OR_RETURN(
      const std::vector<store::Usage> usage,
      store::MeasureUsage(store, owners, cancel, [&](uint64_t walked) { meter.Add(walked); }));
  for (size_t i = 0; i < result.size(); ++i) {
    result[i].stored_bytes = usage[i].stored_bytes;
    result[i].own_bytes = usage[i].own_bytes;
    if (result[i].damage.empty() && !usage[i].status.ok()) result[i].damage = Message(usage[i].status);
  }
  return result;
}

}  // namespace stasis::engine
