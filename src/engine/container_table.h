// The containers by id and by name.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/names.h"
#include "base/status.h"
#include "engine/container.h"

namespace stasis::engine {

// Thread-safe.
class ContainerTable {
 public:
  // By full id, name (with or without a slash before it) or unambiguous prefix of an id. kNotFound "No such
  // container: %s"; kInvalidArgument "Multiple IDs found with provided prefix: %s".
  StatusOr<std::shared_ptr<Container>> Find(const std::string& reference) const;
  // In no order.
  std::vector<std::shared_ptr<Container>> All() const;

  // Keeps a name for a container that is being made, or gives it a second one for a rename. kAlreadyExists
  // with Docker's words when it belongs to another.
  Status ReserveName(const std::string& name, const ContainerId& id);
  void ReleaseName(const std::string& name);
  // The name was reserved.
  void Insert(std::shared_ptr<Container> container);
  void Erase(const ContainerId& id, const std::string& name);

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Container>> by_id_;
  std::map<std::string, std::string> names_;  // name -> id
};

}  // namespace stasis::engine
