// What restores replace of containers' own files, kept as checkpoints that hold the layer alone: the last few
// of each container, in a directory beside its checkpoints (paths.h), so that no list of Docker's shows them.
//
// A restore only sets aside the directory that it replaced (ImageStore::KeepUpper). It is read into the store
// afterwards, beside whatever the container does, and removed once the checkpoint of it is published: at any
// moment one of the two is there, and an engine that starts goes on with what it finds.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"
#include "engine/checkpoint_stores.h"
#include "engine/paths.h"
#include "engine/record.h"
#include "engine/task_queue.h"
#include "image/image_store.h"
#include "manifest/checkpoint_directory.h"

namespace stasis::engine {

inline constexpr size_t kSafetyCheckpoints = 3;  // of each container

// Thread-safe.
class SafetyCheckpoints {
 public:
  SafetyCheckpoints(const Paths& paths, image::ImageStore* images, CheckpointStores* stores)
      : paths_(paths), images_(images), stores_(stores) {}

  // The name of the one that is made of a layer which was replaced at that time.
  static std::string NameFor(absl::Time replaced_at);

  // Takes what was set aside into the store, in the background. What fails is logged, and tried again with
  // the next one, and by the next engine.
  void TakeSoon(const ContainerRecord& record);

  // The same now, once nobody else is at it. `superseded` names one that is removed then, because the
  // container has its files again. On an error whatever was not taken is where it was. kCancelled.
  Status Take(const ContainerRecord& record, const std::optional<CheckpointName>& superseded,
              const std::stop_token& cancel);

  // Those that can be read, the newest first.
  StatusOr<std::vector<Manifest>> List(const ContainerId& container) const;

  // Keeps the container's from being worked on as long as it lives; what is under way is ended.
  class Hold {
   public:
    Hold(SafetyCheckpoints* owner, ContainerId container);
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    ~Hold();

   private:
    SafetyCheckpoints* const owner_;
    const ContainerId container_;
  };

 private:
  struct Work {
    std::stop_source cancel;  // of the one that is at it
    int users = 0;            // who wait, and the one that is at it
    bool busy = false;
  };
  Status TakeAlone(const ContainerRecord& record, const std::optional<CheckpointName>& superseded,
                   const std::stop_token& cancel);
  Status TakeOne(const ContainerRecord& record, const image::KeptUpper& kept, const std::stop_token& cancel);
  Status Store(const ContainerRecord& record, const image::KeptUpper& kept, const CheckpointName& name,
               const std::stop_token& cancel);
  Status RemoveOldest(const ContainerId& container);
  // Waits until nobody is at it. The token is triggered by a Hold that wants to be next. kCancelled.
  StatusOr<std::stop_token> Enter(const ContainerId& container, bool end_other,
                                  const std::stop_token& cancel);
  void Leave(const ContainerId& container);

  const Paths paths_;
  image::ImageStore* const images_;
  CheckpointStores* const stores_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<ContainerId, Work> work_;  // guarded by mutex_
  TaskQueue tasks_{1};                // last: its thread uses all of the above
};

}  // namespace stasis::engine
