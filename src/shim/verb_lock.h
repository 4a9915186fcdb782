// Which verbs of one container may run beside each other: execs and signals do, all else goes alone, and a
// checkpoint holds it alone from the freeze to the thaw. Waiting can be cancelled and is bounded.
#pragma once

#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <utility>

#include "base/status.h"
#include "linux/clock.h"

namespace stasis {

class VerbLock {
 public:
  enum class Kind { kShared, kAlone };

  // Let go at the end of its life, or earlier by Release.
  class [[nodiscard]] Hold {
   public:
    Hold(VerbLock* lock, Kind kind) : lock_(lock), kind_(kind) {}
    Hold(Hold&& other) noexcept : lock_(std::exchange(other.lock_, nullptr)), kind_(other.kind_) {}
    ~Hold() { Release(); }
    void Release();

   private:
    VerbLock* lock_;
    Kind kind_;
  };

  // kDeadlineExceeded, kCancelled.
  StatusOr<Hold> Acquire(Kind kind, Deadline deadline, std::stop_token cancel);

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  int shared_ = 0;
  int waiting_alone_ = 0;  // they go before new shared ones, so that they come in at all
  bool alone_ = false;
};

}  // namespace stasis
