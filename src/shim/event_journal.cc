#include "shim/event_journal.h"

#include <sys/eventfd.h>

#include <utility>

namespace stasis {

void EventJournal::Add(protocol::ShimEvent event) {
  std::lock_guard lock(mutex_);
  event.sequence = ++last_;
  events_.push_back(std::move(event));
  if (events_.size() > kKept) events_.pop_front();
  for (int fd : subscribers_) ::eventfd_write(fd, 1);
}

std::vector<protocol::ShimEvent> EventJournal::After(uint64_t sequence) const {
  std::lock_guard lock(mutex_);
  std::vector<protocol::ShimEvent> later;
  for (const protocol::ShimEvent& event : events_) {
    if (event.sequence > sequence) later.push_back(event);
  }
  return later;
}

void EventJournal::Subscribe(int event_fd) {
  std::lock_guard lock(mutex_);
  subscribers_.insert(event_fd);
}

void EventJournal::Unsubscribe(int event_fd) {
  std::lock_guard lock(mutex_);
  subscribers_.erase(event_fd);
}

}  // namespace stasis
