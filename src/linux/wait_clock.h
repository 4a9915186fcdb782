// Since when a thread waits, for those waits that a stop ends (interrupted_wait.h): the kernel alone knows
// how much of their time-out is left, and does not tell. But it tells when a thread was last on a processor
// (/proc/TID/sched), by a clock of each processor that stands still while a hypervisor has it: so a wait may
// be taken for shorter than it was, never for longer.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>

#include "base/status.h"

namespace stasis {

// A thread in a wait with a time-out of its own.
struct BegunWait {
  pid_t thread = 0;
  std::chrono::nanoseconds began{0};  // of CLOCK_MONOTONIC
  uint64_t switches = 0;              // how often it had gone to sleep by then

  // Of a thread that stands still: it was stopped in that wait, and not in a later one.
  bool WasStopped() const;
};

class WaitClock {
 public:
  // To be asked while the thread runs; nothing where it is in no such wait, or where the kernel tells too
  // little.
  std::optional<BegunWait> Look(pid_t thread);

 private:
  // What has to be added to the clock of a processor for CLOCK_MONOTONIC.
  StatusOr<std::chrono::nanoseconds> Offset(int processor);
  std::map<int, std::chrono::nanoseconds> offsets_;
};

}  // namespace stasis
