// A checkpoint that is being restored, as the shim sees it: its checkpointer gives CRIU its images while runc
// starts, and then writes into the restored processes what is not in them.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

#include "base/json.h"
#include "base/status.h"
#include "protocol/checkpointer.h"
#include "shim/checkpointer_process.h"
#include "shim/shim_log.h"

namespace stasis {

class RestoredCheckpoint {
 public:
  // `checkpointer`: path of the program. `progress` gets what its notices say, on a thread of ours.
  using OnProgress = std::function<void(const Json& params)>;
  RestoredCheckpoint(std::string checkpointer, OnProgress progress, ShimLog* log)
      : checkpointer_(std::move(checkpointer)), progress_(std::move(progress)), log_(log) {}
  RestoredCheckpoint(const RestoredCheckpoint&) = delete;
  RestoredCheckpoint& operator=(const RestoredCheckpoint&) = delete;
  ~RestoredCheckpoint();

  // From now on runc may be started, whose CRIU asks at plan.socket. kDataLoss: the checkpoint is damaged, as
  // far as was seen. kCancelled.
  Status Open(const protocol::RestorePlan& plan, const std::stop_token& cancel);

  // Once CRIU has ended, whatever for: why it did not get what it asked for. Ok where it did, or gave up
  // itself.
  Status Failure();

 private:
  Status Give(const std::stop_token& stop);
  Status End(const Status& status, const std::stop_token& cancel);

  const std::string checkpointer_;
  const OnProgress progress_;
  ShimLog* const log_;
  std::optional<CheckpointerProcess> process_;
  Status given_;
  std::jthread giving_;  // owns process_ and given_ while it runs
};

}  // namespace stasis
