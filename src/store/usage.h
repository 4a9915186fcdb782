// What of a store is whose.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/status.h"
#include "store/page_tree.h"

namespace stasis::store {

struct Usage {
  uint64_t stored_bytes = 0;  // disk space of all that its streams need
  uint64_t own_bytes = 0;     // of what nobody else's need: what its deletion gives back
  // kDataLoss: one of its streams cannot be walked. Then the two count what was found of it, and what it
  // shares with others without having been found may be counted as theirs alone.
  Status status = {};
};

// One for each of `owners`, the streams of one each. Without the packs' own tables. `on_bytes` is told of the
// sizes of streams that were walked. kCancelled.
StatusOr<std::vector<Usage>> MeasureUsage(const std::string& directory,
                                          const std::vector<std::vector<StreamId>>& owners,
                                          const std::stop_token& cancel,
                                          const std::function<void(uint64_t)>& on_bytes = {});

}  // namespace stasis::store
