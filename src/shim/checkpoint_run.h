// One checkpoint, as the shim sees it: the checkpointer is started, told its verbs, and whatever becomes of
// it, nothing of it is left that must not be.
#pragma once

#include <functional>
#include <stop_token>
#include <string>

#include "base/status.h"
#include "linux/cgroup.h"
#include "protocol/checkpointer.h"
#include "protocol/shim.h"
#include "shim/shim_log.h"

namespace stasis {

struct CheckpointHooks {
  // Called before the freeze: stops everything else, or fails. From here on the container must not change.
  std::function<Status()> before_freeze;
  // Called once a container that runs on does so, before its checkpoint is on disk. Not for one that was
  // paused: it stands still all the time, and an undo would freeze it again.
  std::function<void()> after_thaw;
  std::function<void(const Json& params)> progress;
};

struct CheckpointSurroundings {
  std::string checkpointer;  // path of the program
  const Cgroup* cgroup = nullptr;
  ShimLog* log = nullptr;
};

// Blocks until it is published, or until all of it is undone. kAborted: not to be had copy on write.
// kUnavailable: what stands in its way passes by itself.
// kCancelled. "the checkpointer died (signal 9)" when it did, before the rename that publishes: what fails or
// is cancelled after that is a success, whose result then may hold no figures.
StatusOr<protocol::CheckpointResult> RunCheckpoint(const protocol::CheckpointPlan& plan,
                                                   const CheckpointSurroundings& around,
                                                   const CheckpointHooks& hooks, std::stop_token cancel);

}  // namespace stasis
