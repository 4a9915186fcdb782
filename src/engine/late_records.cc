#include "engine/late_records.h"

#include <algorithm>
#include <utility>

#include "engine/container_store.h"

namespace stasis::engine {

void LateRecords::AddEvents(const std::vector<backend::EventMessage>& events) {
  batch_.events.insert(batch_.events.end(), events.begin(), events.end());
  while (batch_.events.size() > kKeptEvents) batch_.events.pop_front();
}

bool LateRecords::KeepChange(const std::optional<ContainerId>& changed,
                             const std::vector<backend::EventMessage>& events,
                             std::optional<absl::Time> supervisor_seen) {
  const std::lock_guard lock(mutex_);
  const bool was_empty = batch_.empty();
  if (changed) batch_.changed.insert(*changed);
  if (supervisor_seen)
    batch_.supervisor_seen = std::max(batch_.supervisor_seen.value_or(*supervisor_seen), *supervisor_seen);
  AddEvents(events);
  return was_empty;
}

bool LateRecords::KeepRemoval(const ContainerId& removed, const std::vector<backend::EventMessage>& events) {
  const std::lock_guard lock(mutex_);
  const bool was_empty = batch_.empty();
  batch_.changed.erase(removed);
  batch_.removed.insert(removed);
  AddEvents(events);
  return was_empty;
}

LateRecords::Batch LateRecords::Take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(batch_, {});
}

bool LateRecords::PutBack(Batch batch) {
  const std::lock_guard lock(mutex_);
  if (batch.empty()) return false;
  const bool was_empty = batch_.empty();
  batch_.changed.merge(batch.changed);
  batch_.removed.merge(batch.removed);
  for (const ContainerId& id : batch_.removed) batch_.changed.erase(id);
  if (batch.supervisor_seen)
    batch_.supervisor_seen =
        std::max(batch_.supervisor_seen.value_or(*batch.supervisor_seen), *batch.supervisor_seen);
  batch_.events.insert(batch_.events.begin(), batch.events.begin(), batch.events.end());
  while (batch_.events.size() > kKeptEvents) batch_.events.pop_front();
  return was_empty;
}

}  // namespace stasis::engine
