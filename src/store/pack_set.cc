#include "store/pack_set.h"

#include <algorithm>

namespace stasis::store {
namespace {

constexpr size_t kMostOpen = 256;

}  // namespace

StatusOr<std::shared_ptr<const Pack>> PackSet::Get(PackId id) {
  std::lock_guard lock(mutex_);
  auto found = std::find_if(open_.begin(), open_.end(), [&](const auto& pack) { return pack->id() == id; });
  if (found != open_.end()) {
    open_.splice(open_.begin(), open_, found);
    return open_.front();
  }
  STASIS_ASSIGN_OR_RETURN(std::shared_ptr<const Pack> pack, Pack::Open(directory_, id));
  open_.push_front(pack);
  if (open_.size() > kMostOpen) open_.pop_back();
  return pack;
}

}  // namespace stasis::store
