#include "engine/checkpoint_stores.h"

#include <chrono>

#include "base/log.h"
#include "linux/files.h"
#include "manifest/checkpoint_content.h"

namespace stasis::engine {
namespace {

// So that the many deletions of a script cost one collection.
constexpr std::chrono::milliseconds kDelay{500};

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
    if (const auto id = ContainerId::Parse(raw); id.ok()) directories.push_back(paths_.Checkpoints(*id));
  }
  return directories;
}

StatusOr<store::Collected> CheckpointStores::Collect(const std::string& store,
                                                     const std::stop_token& cancel) const {
  if (!Exists(store)) return store::Collected{};
  return store::CollectGarbage(
      store,
      [&]() -> StatusOr<std::vector<store::StreamId>> {
        STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> directories, DirectoriesOf(store));
        return StreamsOf(directories);
      },
      cancel);
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
    const StatusOr<store::Collected> collected = Collect(store, stop);
    if (absl::IsUnavailable(collected.status())) {
      CollectSoon(store);
    } else if (!collected.ok() && !absl::IsCancelled(collected.status())) {
      spdlog::warn("{}: no space is given back: {}", store, Message(collected.status()));
    }
  });
}

}  // namespace stasis::engine
