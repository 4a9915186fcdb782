#include "shim/event_loop.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <future>
#include <utility>

namespace stasis {

StatusOr<std::unique_ptr<EventLoop>> EventLoop::Create() {
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return ErrnoError(errno, "eventfd");
  return std::unique_ptr<EventLoop>(new EventLoop(std::move(wake)));
}

void EventLoop::Run() {
  {
    std::lock_guard lock(mutex_);
    thread_ = std::this_thread::get_id();
  }
  for (;;) {
    RunPosted();
    {
      std::lock_guard lock(mutex_);
      if (stopping_ && posted_.empty()) {
        ended_ = true;
        return;
      }
    }
    Round();
    RunTimers();
  }
}

void EventLoop::Stop() {
  std::lock_guard lock(mutex_);
  stopping_ = true;
  ::eventfd_write(wake_.get(), 1);
}

void EventLoop::Post(std::function<void()> work) {
  std::lock_guard lock(mutex_);
  if (ended_) return;
  posted_.push_back(std::move(work));
  ::eventfd_write(wake_.get(), 1);
}

void EventLoop::Call(const std::function<void()>& work) {
  std::promise<void> done;
  {
    std::unique_lock lock(mutex_);
    if (thread_ == std::this_thread::get_id() && !ended_) {
      lock.unlock();
      return work();
    }
    if (ended_) return work();  // under the lock: one at a time, as on the loop
    posted_.push_back([&] {
      work();
      done.set_value();
    });
    ::eventfd_write(wake_.get(), 1);
  }
  done.get_future().wait();
}

void EventLoop::Watch(int fd, short events, Handler handler) {
  watchers_[fd] = Watcher{events, next_number_++, std::make_shared<Handler>(std::move(handler))};
}

void EventLoop::SetEvents(int fd, short events) {
  auto found = watchers_.find(fd);
  if (found != watchers_.end()) found->second.events = events;
}

void EventLoop::Unwatch(int fd) { watchers_.erase(fd); }

EventLoop::Timer EventLoop::RunAfter(std::chrono::milliseconds wait, std::function<void()> work) {
  Timer timer = next_number_++;
  timers_[timer] = Pending{After(wait), std::move(work)};
  return timer;
}

void EventLoop::Cancel(Timer timer) { timers_.erase(timer); }

void EventLoop::RunPosted() {
  std::vector<std::function<void()>> posted;
  {
    std::lock_guard lock(mutex_);
    posted.swap(posted_);
  }
  for (std::function<void()>& work : posted) work();
}

Deadline EventLoop::NextTimer() const {
  Deadline next = kNoDeadline;
  for (const auto& [timer, pending] : timers_) next = std::min(next, pending.at);
  return next;
}

void EventLoop::RunTimers() {
  Deadline now = std::chrono::steady_clock::now();
  std::vector<Timer> due;
  for (const auto& [timer, pending] : timers_) {
    if (pending.at <= now) due.push_back(timer);
  }
  for (Timer timer : due) {  // one may cancel another
    auto found = timers_.find(timer);
    if (found == timers_.end()) continue;
    std::function<void()> work = std::move(found->second.work);
    timers_.erase(found);
    work();
  }
}

void EventLoop::Round() {
  std::vector<pollfd> polled = {{wake_.get(), POLLIN, 0}};
  std::vector<uint64_t> numbers = {0};
  for (const auto& [fd, watcher] : watchers_) {
    if (watcher.events == kParked) continue;
    polled.push_back({fd, watcher.events, 0});
    numbers.push_back(watcher.number);
  }
  if (::poll(polled.data(), polled.size(), PollTimeout(NextTimer())) <= 0) return;
  eventfd_t count;
  if (polled[0].revents) ::eventfd_read(wake_.get(), &count);
  for (size_t i = 1; i < polled.size(); ++i) {
    if (!polled[i].revents) continue;
    auto found = watchers_.find(polled[i].fd);
    if (found == watchers_.end() || found->second.number != numbers[i]) continue;
    std::shared_ptr<Handler> handler = found->second.handler;  // lives on if it ends its own watch
    (*handler)(polled[i].revents);
  }
}

}  // namespace stasis
