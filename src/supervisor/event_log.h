// The events of all containers in one order, kept in a file so that a client can ask for what it missed, also
// across a restart of the supervisor. A bounded number is kept: the oldest go first.
//
// docs/contracts/supervisor.md describes the file; change both or neither.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "base/status.h"
#include "linux/clock.h"
#include "linux/unique_fd.h"
#include "types/api.pb.h"

namespace stasis::supervisor {

// Where an event came from: which shim (it is told from another of the same container by its process), and
// the shim's own number of it. Number 0: the supervisor's own event.
struct EventSource {
  std::string shim;
  uint64_t sequence = 0;
};

// Thread-safe. Readers never hold up Append: each has a position of its own in what is kept.
class EventLog {
 public:
  struct Limits {
    size_t max_bytes = 4 << 20;  // of the file; it is then cut to half
  };

  // Reads the file at `path`, or makes it. Lines that are damaged (the last of a killed writer) are left out.
  static StatusOr<std::unique_ptr<EventLog>> Open(const std::string& path, Limits limits);
  static StatusOr<std::unique_ptr<EventLog>> Open(const std::string& path) { return Open(path, Limits()); }

  // Writes the event to the file, then shows it to the readers. Sets its timestamp: now, or later, so that
  // timestamps strictly increase. An event whose source was logged already is dropped. On failure nobody
  // sees it and the caller may try again.
  Status Append(types::Event event, const EventSource& source);

  // The highest number logged from this shim, 0 for none.
  uint64_t LastSequence(const std::string& shim) const;
  // The shim is gone for good.
  void Forget(const std::string& shim);

  // Positions for Next: behind everything up to now, and at the first event later than `time`.
  uint64_t End() const;
  uint64_t FirstAfter(absl::Time time) const;
  // The event at `position`. Waits for it until the deadline; nullopt when it has not come.
  // kResourceExhausted: it is not kept any more, the reader was too slow.
  StatusOr<std::optional<types::Event>> Next(uint64_t position, Deadline deadline) const;

 private:
  struct Entry {
    types::Event event;
    absl::Time time;
    size_t bytes = 0;  // of its line
  };

  EventLog(std::string path, Limits limits) : path_(std::move(path)), limits_(limits) {}
  Status Load();
  void Note(const EventSource& source);
  Status CutToHalf();

  const std::string path_;
  const Limits limits_;
  mutable std::mutex mutex_;
  mutable std::condition_variable grown_;
  // All below: guarded by mutex_.
  UniqueFd file_;
  size_t file_bytes_ = 0;
  std::deque<Entry> entries_;
  uint64_t first_ = 0;  // position of entries_.front()
  absl::Time last_time_ = absl::InfinitePast();
  std::map<std::string, uint64_t> sequences_;  // by shim
};

// Times on the wire.
absl::Time FromProto(const google::protobuf::Timestamp& timestamp);
void ToProto(absl::Time time, google::protobuf::Timestamp* out);

}  // namespace stasis::supervisor
