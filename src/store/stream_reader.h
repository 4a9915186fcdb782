// Bringing streams back.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>

#include "base/status.h"
#include "store/page_reader.h"
#include "store/page_tree.h"

namespace stasis::store {

// Writes the stream into `file`, an empty regular file, several pages at once; zeros become holes. Every page
// is checked. `on_bytes` is told of bytes that were written. kDataLoss: the store is damaged, and `file`
// holds some of it. kCancelled.
Status ReadStream(PageFinder* finder, const StreamId& stream, int file,
                  const std::function<void(uint64_t)>& on_bytes, const std::stop_token& cancel);

// A short one, whole. kOutOfRange: it has more than `limit` bytes.
StatusOr<std::string> ReadShortStream(PageFinder* finder, const StreamId& stream, size_t limit);

}  // namespace stasis::store
