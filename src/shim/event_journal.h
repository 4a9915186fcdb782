// The events of one container, numbered, kept for who comes late. Thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "protocol/shim.h"

namespace stasis {

class EventJournal {
 public:
  // The last so many are kept; older ones are gone for a subscriber that was away too long, which sees it by
  // the gap in the numbers.
  static constexpr size_t kKept = 1024;

  // Numbers the event, keeps it and wakes the subscribers.
  void Add(protocol::ShimEvent event);
  std::vector<protocol::ShimEvent> After(uint64_t sequence) const;

  // `event_fd`, an eventfd(2), becomes readable with every new event, until Unsubscribe.
  void Subscribe(int event_fd);
  void Unsubscribe(int event_fd);

 private:
  mutable std::mutex mutex_;
  std::deque<protocol::ShimEvent> events_;
  uint64_t last_ = 0;
  std::set<int> subscribers_;
};

}  // namespace stasis
