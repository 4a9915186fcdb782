// Freezes a container at a moment in which it can be saved, and notes what only the moment before it can
// tell.
#pragma once

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "base/status.h"
#include "criu/processes.h"
#include "linux/cgroup.h"
#include "linux/clock.h"
#include "protocol/shim.h"

namespace stasis::checkpoint {

// In the work directory: since when threads wait, for CRIU's preloaded library (criu/preload/waits.c).
inline constexpr char kWaitsFile[] = "waits";

struct Freeze {
  std::chrono::steady_clock::time_point since;
  uint64_t thaws = 0;  // how often it was let go on, and frozen again
};

// Freezes the `cgroup` of the container with these `processes`. Whoever spawns by vfork(2), as posix_spawn(3)
// does, cannot be stopped while its child is: then the container runs on until that has come to its exec, and
// is frozen again; ten times at most. It also runs on for a moment where it does not come to a stop
// (Cgroup::TryFreeze). Into `waits_file` goes since when threads wait in calls that a stop ends. One that its
// user has frozen (`is_frozen`) is only looked at. kInternal: it was always in the midst of a vfork.
// kDeadlineExceeded. On any error the cgroup may still be frozen.
StatusOr<Freeze> FreezeContainer(const Cgroup& cgroup, bool is_frozen,
                                 const std::vector<criu::Process>& processes, const std::string& waits_file,
                                 Deadline deadline, const std::stop_token& cancel);

// Thaws it so that the waits which the freeze has ended go on too: for that every thread is seized, and let
// go again.
Status ThawUnnoticed(const Cgroup& cgroup, Deadline deadline);

// How long a container may stand still, and the error where it did for longer; `meanwhile` ends its sentence.
std::chrono::milliseconds FrozenLimit(const protocol::CheckpointRequest& request);
Status FrozenTooLong(const protocol::CheckpointRequest& request, const std::string& meanwhile);

}  // namespace stasis::checkpoint
