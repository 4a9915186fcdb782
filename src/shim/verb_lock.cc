#include "shim/verb_lock.h"

#include <algorithm>

namespace stasis {

StatusOr<VerbLock::Hold> VerbLock::Acquire(Kind kind, Deadline deadline, std::stop_token cancel) {
  std::unique_lock lock(mutex_);
  bool alone = kind == Kind::kAlone;
  if (alone) ++waiting_alone_;
  auto free = [&] { return !alone_ && (alone ? shared_ == 0 : waiting_alone_ == 0); };
  // wait_until with time_point::max() overflows in some libraries; a day is as good as no deadline.
  Deadline bound = std::min(deadline, After(std::chrono::hours(24)));
  bool got = changed_.wait_until(lock, cancel, bound, free);
  if (alone) --waiting_alone_;
  if (!got) {
    changed_.notify_all();
    if (cancel.stop_requested()) return Cancelled("cancelled while another operation of the container runs");
    return DeadlineExceeded("another operation of the container takes too long");
  }
  alone ? void(alone_ = true) : void(++shared_);
  return Hold(this, kind);
}

void VerbLock::Hold::Release() {
  VerbLock* lock = std::exchange(lock_, nullptr);
  if (!lock) return;
  std::lock_guard guard(lock->mutex_);
  kind_ == Kind::kAlone ? void(lock->alone_ = false) : void(--lock->shared_);
  lock->changed_.notify_all();
}

}  // namespace stasis
