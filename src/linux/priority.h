// The priority of whoever a frozen container waits for. On a busy host a thread of ordinary priority waits
// for its turn on a processor many times in one freeze, and the container stands still for all of it.
// sched_setscheduler(2), sched(7).
#pragma once

#include <sys/types.h>

#include "base/status.h"

namespace stasis {

// Gives a thread (0: the caller) the lowest real-time priority, SCHED_RR: it runs before all of ordinary
// priority. What it starts from then on has it too. One that has a real-time policy already keeps that.
// kPermissionDenied: there is no right to do so (CAP_SYS_NICE), or its cpu cgroup has no share of real time.
Status RaiseToRealTime(pid_t thread);

// The calling thread at SCHED_RR for as long as this lives; what it starts meanwhile is of ordinary priority.
// Where that is refused, nothing happens. To be ended by the thread that made it.
class RealTimeScope {
 public:
  RealTimeScope();
  RealTimeScope(const RealTimeScope&) = delete;
  RealTimeScope& operator=(const RealTimeScope&) = delete;
  ~RealTimeScope();

  bool raised() const { return policy_before_ >= 0; }

 private:
  int policy_before_ = -1;  // -1: it was left as it was
};

}  // namespace stasis
