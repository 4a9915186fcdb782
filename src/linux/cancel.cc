#include "linux/cancel.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

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

StatusOr<short> WaitFor(int fd, short events, Deadline deadline, std::stop_token cancel) {
  std::unique_ptr<CancelFd> cancelled;
  if (cancel.stop_possible()) {
    STASIS_ASSIGN_OR_RETURN(cancelled, CancelFd::Create(cancel));
  }
  pollfd polled[2] = {{fd, events, 0}, {cancelled ? cancelled->get() : -1, POLLIN, 0}};
  for (;;) {
    int ready = ::poll(polled, 2, PollTimeout(deadline));
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return ErrnoError(errno, "poll");
    if (polled[1].revents) return Cancelled("cancelled");
    if (polled[0].revents) return polled[0].revents;
    if (std::chrono::steady_clock::now() >= deadline) return DeadlineExceeded("timed out");
  }
}

}  // namespace stasis
