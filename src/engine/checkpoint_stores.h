// The stores of checkpoints: what is in them, and giving back the space of what is gone, in the background.
#pragma once

#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "backend/checkpoints.h"
#include "base/status.h"
#include "engine/paths.h"
#include "engine/progress.h"
#include "engine/task_queue.h"
#include "manifest/checkpoint_directory.h"
#include "store/collector.h"

namespace stasis::engine {

// Thread-safe.
class CheckpointStores {
 public:
  // `name_of` gives the name of a container, empty where there is none of that id. Thread-safe.
  using NameOf = std::function<std::string(const std::string& id)>;
  CheckpointStores(const Paths& paths, NameOf name_of) : paths_(paths), name_of_(std::move(name_of)) {}

  // For when a checkpoint has been deleted, or may have been left half made. A store that is not there is
  // none to collect. What fails is logged, and tried again with the next deletion.
  void CollectSoon(const std::string& store);

  // Now, after one that is under way. Errors as store::CollectGarbage.
  StatusOr<store::Collected> Collect(const std::string& store, ProgressMeter& meter,
                                     const std::stop_token& cancel);

  // Errors as backend::CheckpointBackend's.
  StatusOr<backend::CheckpointVerification> Verify(const std::string& store, ProgressMeter& meter,
                                                   const std::stop_token& cancel) const;
  StatusOr<std::vector<backend::CheckpointUsage>> Measure(const std::string& store, ProgressMeter& meter,
                                                          const std::stop_token& cancel) const;

 private:
  // The id of the container that a checkpoint is of, and its name, as far as they are known.
  std::pair<std::string, std::string> OwnerOf(const FoundCheckpoint& found) const;
  // Where there may be checkpoints whose content is in `store`.
  StatusOr<std::vector<std::string>> DirectoriesOf(const std::string& store) const;

  const Paths paths_;
  const NameOf name_of_;
  std::mutex collecting_;  // one collection at a time
  std::mutex mutex_;
  std::set<std::string> waiting_;
  TaskQueue tasks_{1};  // last: its thread uses all of the above
};

}  // namespace stasis::engine
