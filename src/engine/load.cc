// What the engine knows when it comes up: from the database, and from the directories of containers.
#include <set>

#include "base/log.h"
#include "engine/engine.h"

namespace stasis::engine {
namespace {

constexpr size_t kShortId = 12;

}  // namespace

Status Engine::LoadContainers() {
  STASIS_ASSIGN_OR_RETURN(std::vector<ContainerRecord> records, store_->LoadContainers());
  STASIS_ASSIGN_OR_RETURN(const std::vector<ContainerId> removed, directories_.ListRemoved());
  STASIS_ASSIGN_OR_RETURN(const std::vector<ContainerId> present, directories_.List());
  const std::set<ContainerId> gone(removed.begin(), removed.end());
  std::set<ContainerId> known;
  std::vector<ContainerRecord> unreadable;  // adopted after the others: these have the names
  for (ContainerRecord& record : records) {
    known.insert(record.id);
    if (gone.contains(record.id)) {
      record.state.phase = Phase::kRemoving;  // FinishInterrupted goes on with it
    } else if (record.unreadable) {
      unreadable.push_back(std::move(record));
      continue;
    } else if (Status saved = directories_.Save(record); !saved.ok()) {
      spdlog::warn("container {}: its directory does not get its record: {}", record.id.str(),
                   Message(saved));
    }
    STASIS_RETURN_IF_ERROR(ShowContainer(std::move(record)));
  }
  for (const ContainerRecord& record : unreadable)
    STASIS_RETURN_IF_ERROR(AdoptContainer(record.id, record.name));
  for (const ContainerId& id : removed) {
    if (known.contains(id)) continue;
    tasks_.Post([this, id](std::stop_token) {
      Status status = images_->RemoveRoot(id);
      if (status.ok()) status = directories_.ForgetRemoved(id);
      if (!status.ok()) spdlog::warn("removed container {}: {}", id.str(), Message(status));
    });
  }
  size_t adopted = 0;
  for (const ContainerId& id : present) {
    if (known.contains(id)) continue;
    ++adopted;
    STASIS_RETURN_IF_ERROR(AdoptContainer(id, ""));
  }
  if (adopted > 0) {
    spdlog::warn("{} containers that {} does not know were adopted from their directories in {}", adopted,
                 options_.paths.Database(), options_.paths.Containers());
  }
  for (const image::Image& image : images_->List()) {
    if (!image.damage.empty()) spdlog::error("image {} is damaged: {}", image.id.str(), image.damage);
  }
  return {};
}

Status Engine::AdoptContainer(const ContainerId& id, const std::string& name) {
  ContainerRecord record = directories_.Adopt(id);
  if (!name.empty()) record.name = name;
  if (record.unreadable) {
    spdlog::error("container {}: {}", id.str(), record.state.error);
  } else {
    spdlog::warn("container {} ({}) is adopted from its directory", id.str(), record.name);
  }
  // Names in the database come first.
  if (!containers_.ReserveName(record.name, id).ok()) {
    record.name = id.str().substr(0, kShortId);
  } else {
    containers_.ReleaseName(record.name);
  }
  if (const Status saved = store_->Commit({.save = &record, .events = {}, .supervisor_seen = {}});
      !saved.ok())
    spdlog::warn("container {}: {}", id.str(), Message(saved));
  return ShowContainer(std::move(record));
}

Status Engine::ShowContainer(ContainerRecord record) {
  STASIS_RETURN_IF_ERROR(containers_.ReserveName(record.name, record.id));
  containers_.Insert(std::make_shared<Container>(std::move(record)));
  return {};
}

}  // namespace stasis::engine
