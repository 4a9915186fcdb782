// The packs of a store that are open.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "base/status.h"
#include "store/pack.h"

namespace stasis::store {

// Thread-safe. Keeps the last few open that were asked for; a pack lives on while somebody holds it.
class PackSet {
 public:
  explicit PackSet(std::string directory) : directory_(std::move(directory)) {}

  // kNotFound, kDataLoss: as Pack::Open.
  StatusOr<std::shared_ptr<const Pack>> Get(PackId id);

 private:
  const std::string directory_;
  std::mutex mutex_;
  std::list<std::shared_ptr<const Pack>> open_;  // the last one used first
};

}  // namespace stasis::store
