// What happened, for who asks: the last events in a ring (kKeptEvents, kKeptEventBytes), and the live ones.
//
// Publishing never waits for a reader: readers follow the ring at their own pace, and one that falls behind
// by more than the ring holds misses what has left it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <stop_token>
#include <vector>

#include "backend/system.h"
#include "base/status.h"

namespace stasis::engine {

// Whether an event is one that the query asks for. Filters: type, event (a word, or the whole action),
// container and image (id, prefix of it, or name), label ("k" or "k=v"). Unknown names match nothing.
bool Matches(const backend::EventMessage& event, const backend::Filters& filters);
// kInvalidArgument "invalid filter 'NAME'" for a name that Matches does not know.
Status CheckEventFilters(const backend::Filters& filters);

// Thread-safe.
class EventBus {
 public:
  // The past, oldest first.
  explicit EventBus(std::vector<backend::EventMessage> past);

  void Publish(backend::EventMessage event);

  // SystemBackend::Events.
  Status Follow(const backend::EventQuery& query,
                const std::function<Status(const backend::EventMessage&)>& on_event, std::stop_token cancel);

 private:
  // Takes what has come since `cursor` and moves it; waits for something to come until `until` or `cancel`.
  // Empty at those two.
  std::vector<backend::EventMessage> Next(uint64_t* cursor, absl::Time until, const std::stop_token& cancel);

  void Keep(backend::EventMessage event);

  std::mutex mutex_;
  std::condition_variable_any published_;
  std::deque<backend::EventMessage> ring_;
  size_t bytes_ = 0;   // of ring_
  uint64_t next_ = 0;  // number of the next event; ring_'s last one is next_ - 1
};

}  // namespace stasis::engine
