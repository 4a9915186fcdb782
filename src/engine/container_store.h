// The engine's records in ROOT/stasis.db: the only place that says what users asked for. What one decision
// changes is written in one transaction.
//
// Thread-safe. Blocks on disk.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "backend/system.h"
#include "base/status.h"
#include "engine/database.h"
#include "engine/record.h"

namespace stasis::engine {

// So many past events can be asked for, and no more than so many bytes of them (the last one always).
inline constexpr size_t kKeptEvents = 1024;
inline constexpr size_t kKeptEventBytes = 16 << 20;

class ContainerStore {
 public:
  static StatusOr<std::unique_ptr<ContainerStore>> Open(const std::string& path);

  // The parts of one decision; absent ones are left out.
  struct Change {
    const ContainerRecord* save = nullptr;  // inserted or replaced; one that is unreadable is left as it is
    const ContainerId* remove = nullptr;
    std::vector<backend::EventMessage> events;
    std::optional<absl::Time> supervisor_seen;  // the supervisor's events up to then are dealt with
  };
  // kAlreadyExists when the name belongs to another container: nothing is written.
  Status Commit(const Change& change);

  // A container whose record cannot be read is among them (ContainerRecord::unreadable).
  StatusOr<std::vector<ContainerRecord>> LoadContainers();
  // The last kKeptEvents, as far as kKeptEventBytes go, oldest first.
  StatusOr<std::vector<backend::EventMessage>> LoadEvents();
  // InfinitePast when none was seen.
  StatusOr<absl::Time> SupervisorSeen();
  // A random id of this installation, made at the first call.
  StatusOr<std::string> InstallationId();

 private:
  explicit ContainerStore(std::unique_ptr<Database> database) : database_(std::move(database)) {}
  Status SaveEvents(Transaction& transaction, const std::vector<backend::EventMessage>& events);

  std::unique_ptr<Database> database_;
  size_t unpruned_ = 0;  // bytes of events since their bytes were counted; used in transactions only
};

}  // namespace stasis::engine
