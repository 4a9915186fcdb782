// Giving back the space of what no checkpoint needs any more.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/status.h"
#include "store/page_tree.h"
#include "store/store_files.h"

namespace stasis::store {

// Every stream that is to stay. Called more than once; it must tell of all that was published before the
// call.
using ListStreams = std::function<StatusOr<std::vector<StreamId>>()>;

struct Collected {
  uint64_t packs = 0;  // removed, or made anew without what nobody needs
  uint64_t bytes = 0;  // of disk space given back
};

// Finds what is needed by walking all streams, and counts on nothing that was noted before. Safe beside
// writers and readers, none of which waits for it: a pack that somebody uses is left for the next time. A
// crash at any moment loses nothing. kDataLoss: a stream cannot be walked; nothing is removed, since what it
// needs is not known. kUnavailable: another collects. kCancelled. `on_bytes` is told of the sizes of streams
// that were walked.
using OnWalked = std::function<void(uint64_t bytes)>;
StatusOr<Collected> CollectGarbage(const std::string& directory, const ListStreams& streams,
                                   const std::stop_token& cancel, const OnWalked& on_bytes = {});
StatusOr<Collected> CollectGarbage(const std::shared_ptr<StoreFiles>& files, const ListStreams& streams,
                                   const std::stop_token& cancel, const OnWalked& on_bytes = {});

}  // namespace stasis::store
