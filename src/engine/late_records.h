// What has happened and could not be written to the database yet, because the disk is full or fails. It is
// shown all the same, and written once it can be.
//
// Records themselves are not kept here: the newest is always in the container. Thread-safe.
#pragma once

#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "absl/time/time.h"
#include "backend/system.h"
#include "base/names.h"

namespace stasis::engine {

class LateRecords {
 public:
  struct Batch {
    std::set<ContainerId> changed;
    std::set<ContainerId> removed;
    std::deque<backend::EventMessage> events;   // oldest first, at most kKeptEvents
    std::optional<absl::Time> supervisor_seen;  // the latest
    bool empty() const { return changed.empty() && removed.empty() && events.empty() && !supervisor_seen; }
  };

  // True: nothing was kept before, so somebody must see to it that Take is called some time.
  bool KeepChange(const std::optional<ContainerId>& changed, const std::vector<backend::EventMessage>& events,
                  std::optional<absl::Time> supervisor_seen);
  bool KeepRemoval(const ContainerId& removed, const std::vector<backend::EventMessage>& events);
  // All of it, to be written.
  Batch Take();
  // What could not be written again; what came meanwhile is newer. As KeepChange.
  bool PutBack(Batch batch);

 private:
  void AddEvents(const std::vector<backend::EventMessage>& events);

  std::mutex mutex_;
  Batch batch_;
};

}  // namespace stasis::engine
