// Cancellation of blocking waits: a std::stop_token made pollable.
#pragma once

#include <poll.h>

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>

#include "base/status.h"
#include "linux/clock.h"
#include "linux/unique_fd.h"

namespace stasis {

// Becomes readable when `token` is asked to stop, and stays so. Lives on the waiting thread's stack.
class CancelFd {
 public:
  static StatusOr<std::unique_ptr<CancelFd>> Create(std::stop_token token);
  ~CancelFd();
  int get() const { return event_.get(); }

 private:
  explicit CancelFd(UniqueFd event) : event_(std::move(event)) {}
  UniqueFd event_;
  std::optional<std::stop_callback<std::function<void()>>> callback_;
};

// Waits until one of `polled` has one of its events (poll(2)); their revents say which. kDeadlineExceeded,
// kCancelled.
Status WaitForAny(std::span<pollfd> polled, Deadline deadline, std::stop_token cancel);

// Waits until `fd` has one of `events` (poll(2)). Returns its revents. kDeadlineExceeded, kCancelled.
StatusOr<short> WaitFor(int fd, short events, Deadline deadline, std::stop_token cancel);

}  // namespace stasis
