// Bringing streams back.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/status.h"
#include "store/page_reader.h"
#include "store/page_tree.h"

namespace stasis::store {

// What to do with the pages of a stream.
struct StreamSink {
  // Whether the page at this offset is wanted; where this is empty all are.
  std::function<bool(uint64_t offset)> wants = {};
  // Takes pages that follow each other, from several threads, in no order. The last page of a stream is
  // filled up with zeros.
  std::function<Status(uint64_t offset, std::string_view pages)> take = {};
  // The same with pages of zeros; where this is empty nobody is told of them.
  std::function<Status(uint64_t offset, std::string_view zeros)> take_zeros = {};
};

// Every page is checked. `on_bytes` is told, on the calling thread, of bytes that were taken. kDataLoss: the
// store is damaged, and some pages were taken. kCancelled. One thread, beside which others read long streams.
class StreamReader {
 public:
  // The finder outlives it.
  explicit StreamReader(PageFinder* finder) : finder_(finder), pages_(finder) {}

  Status Read(const StreamId& stream, const StreamSink& sink, const std::function<void(uint64_t)>& on_bytes,
              const std::stop_token& cancel);
  // Into an empty regular file; zeros become holes.
  Status Read(const StreamId& stream, int file, const std::function<void(uint64_t)>& on_bytes,
              const std::stop_token& cancel);

 private:
  PageFinder* const finder_;
  PageReader pages_;  // of nodes and of short streams
};

// All of a stream in order, on the calling thread, which takes memory for one block. What `take` returns;
// kDataLoss, kCancelled.
Status ReadInOrder(PageFinder* finder, const StreamId& stream,
                   const std::function<Status(std::string_view bytes)>& take, const std::stop_token& cancel);

// A short stream, whole. kOutOfRange: it has more than `limit` bytes.
StatusOr<std::string> ReadShortStream(PageFinder* finder, const StreamId& stream, size_t limit);

}  // namespace stasis::store
