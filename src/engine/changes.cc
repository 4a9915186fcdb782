// Changes of records: decided ones, which are durable before anybody sees them, and things that have
// happened, which are shown whether the disk takes them or not.
#include "base/log.h"
#include "engine/engine.h"

namespace stasis::engine {
namespace {

constexpr std::chrono::seconds kWriteAgain{1};

}  // namespace

Status Engine::Change(Container& container, const Mutation& change, const std::string& action,
                      const Attributes& attributes) {
  std::vector<backend::EventMessage> events;
  STASIS_RETURN_IF_ERROR(container.Change(change, [&](const ContainerRecord& record) -> Status {
    if (!action.empty()) events.push_back(ContainerEvent(record, action, attributes));
    STASIS_RETURN_IF_ERROR(store_->Commit({.save = &record, .events = events, .supervisor_seen = {}}));
    SaveForAdoption(container.Record(), record);
    return {};
  }));
  for (backend::EventMessage& event : events) events_.Publish(std::move(event));
  return {};
}

Status Engine::RecordFact(Container& container, const Mutation& change, const std::string& action,
                          const Attributes& attributes, std::optional<absl::Time> supervisor_seen) {
  std::vector<backend::EventMessage> events;
  STASIS_RETURN_IF_ERROR(container.Change(change, [&](const ContainerRecord& record) -> Status {
    if (!action.empty()) events.push_back(ContainerEvent(record, action, attributes));
    const Status written =
        store_->Commit({.save = &record, .events = events, .supervisor_seen = supervisor_seen});
    if (!written.ok() && late_.KeepChange(record.id, events, supervisor_seen)) WriteLateSoon(written);
    return {};
  }));
  for (backend::EventMessage& event : events) events_.Publish(std::move(event));
  return {};
}

void Engine::Emit(backend::EventMessage event) {
  const Status written = store_->Commit({.events = {event}, .supervisor_seen = {}});
  if (!written.ok() && late_.KeepChange({}, {event}, {})) WriteLateSoon(written);
  events_.Publish(std::move(event));
}

void Engine::RecordRemoval(const ContainerId& id, const backend::EventMessage& event) {
  Status status = store_->Commit({.remove = &id, .events = {event}, .supervisor_seen = {}});
  if (!status.ok()) {
    if (late_.KeepRemoval(id, {event})) WriteLateSoon(status);
    return;
  }
  status = directories_.ForgetRemoved(id);
  if (!status.ok()) spdlog::warn("removed container {}: {}", id.str(), Message(status));
}

void Engine::WriteLateSoon(const Status& why) {
  spdlog::error("records are kept in memory until they can be written: {}", Message(why));
  tasks_.PostAfter(kWriteAgain, [this](std::stop_token) { WriteLate(); });
}

void Engine::WriteLate() {
  LateRecords::Batch batch = late_.Take();
  if (batch.empty()) return;
  Status status;
  while (status.ok() && !batch.changed.empty()) {
    const StatusOr<ContainerRef> container = containers_.Find(batch.changed.begin()->str());
    if (container.ok()) {
      // As it is now; nobody else writes it meanwhile.
      status = (*container)
                   ->Change([](ContainerRecord&) { return Status(); },
                            [&](const ContainerRecord& record) {
                              return store_->Commit({.save = &record, .events = {}, .supervisor_seen = {}});
                            });
    }
    if (status.ok()) batch.changed.erase(batch.changed.begin());
  }
  while (status.ok() && !batch.removed.empty()) {
    const ContainerId id = *batch.removed.begin();
    status = store_->Commit({.remove = &id, .events = {}, .supervisor_seen = {}});
    if (status.ok()) status = directories_.ForgetRemoved(id);
    if (status.ok()) batch.removed.erase(id);
  }
  if (status.ok() && (!batch.events.empty() || batch.supervisor_seen)) {
    status = store_->Commit(
        {.events = {batch.events.begin(), batch.events.end()}, .supervisor_seen = batch.supervisor_seen});
    if (status.ok()) batch = {};
  }
  if (status.ok()) return spdlog::info("all records that were kept in memory are written");
  if (late_.PutBack(std::move(batch)))
    tasks_.PostAfter(kWriteAgain, [this](std::stop_token) { WriteLate(); });
}

void Engine::SaveForAdoption(const ContainerRecord& before, const ContainerRecord& after) {
  if (!ContainerDirectories::AdoptionDiffers(before, after)) return;
  if (Status status = directories_.Save(after); !status.ok()) {
    spdlog::warn("container {}: its directory does not get its record: {}", after.id.str(), Message(status));
  }
}

backend::EventMessage Engine::ContainerEvent(const ContainerRecord& record, std::string action,
                                             const Attributes& attributes) {
  backend::EventMessage event;
  event.type = "container";
  event.action = std::move(action);
  event.actor_id = record.id.str();
  event.attributes = record.config.labels;
  event.attributes["image"] = record.config.image;
  event.attributes["name"] = record.name;
  for (const auto& [name, value] : attributes) event.attributes[name] = value;
  event.at = absl::Now();
  return event;
}

}  // namespace stasis::engine
