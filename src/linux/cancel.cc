#include "linux/cancel.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace stasis {

StatusOr<std::unique_ptr<CancelFd>> CancelFd::Create(std::stop_token token) {
  UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event.valid()) return ErrnoError(errno, "eventfd");
  std::unique_ptr<CancelFd> cancel(new CancelFd(std::move(event)));
  int fd = cancel->get();
  // Runs at once, here, when the token has already been asked to stop.
  cancel->callback_.emplace(std::move(token), [fd] {
    uint64_t one = 1;
    while (::write(fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
  });
  return cancel;
}

CancelFd::~CancelFd() = default;

Status WaitForAny(std::span<pollfd> polled, Deadline deadline, std::stop_token cancel) {
  std::unique_ptr<CancelFd> cancelled;
  if (cancel.stop_possible()) {
    STASIS_ASSIGN_OR_RETURN(cancelled, CancelFd::Create(cancel));
  }
  std::vector<pollfd> all(polled.begin(), polled.end());
  all.push_back({cancelled ? cancelled->get() : -1, POLLIN, 0});
  for (;;) {
    int ready = ::poll(all.data(), all.size(), PollTimeout(deadline));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return ErrnoError(errno, "poll");
    if (all.back().revents) return Cancelled("cancelled");
    if (ready > 0) {
      std::copy_n(all.begin(), polled.size(), polled.begin());
      return absl::OkStatus();
    }
    if (std::chrono::steady_clock::now() >= deadline) return DeadlineExceeded("timed out");
  }
}

StatusOr<short> WaitFor(int fd, short events, Deadline deadline, std::stop_token cancel) {
  pollfd polled = {fd, events, 0};
  STASIS_RETURN_IF_ERROR(WaitForAny({&polled, 1}, deadline, std::move(cancel)));
  return polled.revents;
}

}  // namespace stasis
