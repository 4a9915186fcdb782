#include "api/hangup_watcher.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

namespace stasis::api {

StatusOr<std::unique_ptr<HangupWatcher>> HangupWatcher::Create() {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return ErrnoError(errno, "epoll_create1");
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return ErrnoError(errno, "eventfd");
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = 0;
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0) return ErrnoError(errno, "epoll_ctl");
  std::unique_ptr<HangupWatcher> watcher(new HangupWatcher(std::move(epoll), std::move(wake)));
  watcher->thread_ = std::jthread([raw = watcher.get()] { raw->Loop(); });
  return watcher;
}

HangupWatcher::~HangupWatcher() {
  uint64_t one = 1;
  while (::write(wake_.get(), &one, sizeof one) < 0 && errno == EINTR) {
  }
}

StatusOr<HangupWatcher::Watch> HangupWatcher::Add(int socket, std::stop_source source) {
  std::lock_guard lock(mutex_);
  uint64_t id = ++last_id_;
  epoll_event event = {};
  event.events = EPOLLONESHOT;  // and, as always, EPOLLHUP and EPOLLERR
  event.data.u64 = id;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, socket, &event) != 0) return ErrnoError(errno, "epoll_ctl");
  entries_.emplace(id, Entry{socket, std::move(source)});
  return Watch(this, id);
}

void HangupWatcher::Remove(uint64_t id) {
  std::lock_guard lock(mutex_);
  auto entry = entries_.find(id);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, entry->second.socket, nullptr);
  entries_.erase(entry);
}

void HangupWatcher::Loop() {
  for (;;) {
    epoll_event events[64];
    int count = ::epoll_wait(epoll_.get(), events, 64, -1);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u64 == 0) return;
      std::optional<std::stop_source> source;
      {
        std::lock_guard lock(mutex_);
        auto entry = entries_.find(events[i].data.u64);
        if (entry != entries_.end()) source.emplace(entry->second.source);
      }
      if (source) source->request_stop();  // outside of the lock: it runs callbacks
    }
  }
}

}  // namespace stasis::api
