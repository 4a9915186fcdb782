#include "engine/container_table.h"

namespace stasis::engine {

StatusOr<std::shared_ptr<Container>> ContainerTable::Find(const std::string& reference) const {
  const Status missing = NotFound("No such container: " + reference);
  if (reference.empty()) return missing;
  const std::lock_guard lock(mutex_);
  if (const auto exact = by_id_.find(reference); exact != by_id_.end()) return exact->second;
  const std::string name = reference[0] == '/' ? reference.substr(1) : reference;
  if (const auto named = names_.find(name); named != names_.end()) {
    const auto container = by_id_.find(named->second);
    if (container != by_id_.end()) return container->second;
  }
  auto match = by_id_.lower_bound(reference);
  if (match == by_id_.end() || match->first.rfind(reference, 0) != 0) return missing;
  const auto next = std::next(match);
  if (next != by_id_.end() && next->first.rfind(reference, 0) == 0) {
    return InvalidArgument("Multiple IDs found with provided prefix: " + reference);
  }
  return match->second;
}

std::vector<std::shared_ptr<Container>> ContainerTable::All() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Container>> containers;
  for (const auto& [id, container] : by_id_) containers.push_back(container);
  return containers;
}

Status ContainerTable::ReserveName(const std::string& name, const ContainerId& id) {
  const std::lock_guard lock(mutex_);
  const auto [entry, inserted] = names_.emplace(name, id.str());
  if (inserted) return {};
  return AlreadyExists("Conflict. The container name \"/" + name + "\" is already in use by container \"" +
                       entry->second +
                       "\". You have to remove (or rename) that container to be able to reuse that name.");
}

void ContainerTable::ReleaseName(const std::string& name) {
  const std::lock_guard lock(mutex_);
  names_.erase(name);
}

void ContainerTable::Insert(std::shared_ptr<Container> container) {
  const std::lock_guard lock(mutex_);
  by_id_.emplace(container->id().str(), container);
}

void ContainerTable::Erase(const ContainerId& id, const std::string& name) {
  const std::lock_guard lock(mutex_);
  by_id_.erase(id.str());
  const auto entry = names_.find(name);
  if (entry != names_.end() && entry->second == id.str()) names_.erase(entry);
}

}  // namespace stasis::engine
