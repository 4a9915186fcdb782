// Making a captured layer again.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <vector>

#include "base/status.h"
#include "layer/entry.h"
#include "store/page_reader.h"

namespace stasis::layer {

// Makes all entries in `directory`, an empty one that nobody else writes to. The entries may be a stranger's:
// paths are resolved inside the directory, of extended attributes those of users, file capabilities and what
// overlayfs needs are set. Needs root. kDataLoss: the store lacks something, or the entries make no tree.
// kCancelled. On an error some of it is there.
Status Rebuild(const std::vector<Entry>& entries, store::PageFinder* finder, int directory,
               const std::function<void(uint64_t)>& on_bytes, const std::stop_token& cancel);

}  // namespace stasis::layer
