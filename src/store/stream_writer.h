// Putting whole files into a store.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string_view>

#include "base/status.h"
#include "store/page_tree.h"
#include "store/writer.h"

namespace stasis::store {

// A stream of what `file` holds, up to `limit` bytes of it, however fast it grows. Holes are zeros; long ones
// are not read. `on_bytes` is told of bytes that were read; its error ends it. kCancelled. After an error the
// writer is of no more use.
StatusOr<StreamId> AddFile(Writer* writer, int file, uint64_t limit,
                           const std::function<Status(uint64_t)>& on_bytes, const std::stop_token& cancel);

// The name that a stream of these bytes has in any store.
StatusOr<StreamId> StreamIdOf(std::string_view bytes);

}  // namespace stasis::store
