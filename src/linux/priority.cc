#include "linux/priority.h"

#include <sched.h>

#include <cerrno>
#include <string>

namespace stasis {
namespace {

bool IsRealTime(int policy) {
  policy &= ~SCHED_RESET_ON_FORK;
  return policy == SCHED_RR || policy == SCHED_FIFO || policy == SCHED_DEADLINE;
}

}  // namespace

Status RaiseToRealTime(pid_t thread) {
  const int policy = ::sched_getscheduler(thread);
  if (policy >= 0 && IsRealTime(policy)) return absl::OkStatus();
  const sched_param lowest = {.sched_priority = ::sched_get_priority_min(SCHED_RR)};
  if (policy < 0 || ::sched_setscheduler(thread, SCHED_RR, &lowest) != 0)
    return ErrnoError(errno, "give thread " + std::to_string(thread) + " a real-time priority");
  return absl::OkStatus();
}

RealTimeScope::RealTimeScope() {
  const int policy = ::sched_getscheduler(0);
  if (policy < 0 || IsRealTime(policy)) return;
  const sched_param lowest = {.sched_priority = ::sched_get_priority_min(SCHED_RR)};
  if (::sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &lowest) == 0) policy_before_ = policy;
}

RealTimeScope::~RealTimeScope() {
  if (!raised()) return;
  // The kernel keeps the nice value of a thread while it has a real-time policy.
  const sched_param none = {};
  static_cast<void>(::sched_setscheduler(0, policy_before_, &none));
}

}  // namespace stasis
