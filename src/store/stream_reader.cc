#include "store/stream_reader.h"

#include <unistd.h>

#include <algorithm>
#include <deque>
#include <future>
#include <span>
#include <utility>
#include <vector>

#include "linux/files.h"

namespace stasis::store {
namespace {

constexpr size_t kBatchPages = 1024;
constexpr size_t kBatchesAtOnce = 3;

// Pages that follow each other, and where they go.
struct Batch {
  std::vector<PageHash> hashes;
  uint64_t offset = 0;
};

Status WriteBatch(PageFinder* finder, const Batch& batch, int file) {
  PageReader reader(finder);
  std::span<const PageHash> left(batch.hashes);
  for (uint64_t at = batch.offset; !left.empty();) {
    if (left.front() == ZeroPage()) {  // a hole
      left = left.subspan(1);
      at += kPageBytes;
      continue;
    }
    STASIS_ASSIGN_OR_RETURN(const std::string_view pages, reader.ReadRun(left));
    STASIS_RETURN_IF_ERROR(Annotate(WriteAllAt(file, pages, at), "write what a checkpoint holds"));
    left = left.subspan(pages.size() / kPageBytes);
    at += pages.size();
  }
  return absl::OkStatus();
}

}  // namespace

Status ReadStream(PageFinder* finder, const StreamId& stream, int file,
                  const std::function<void(uint64_t)>& on_bytes, const std::stop_token& cancel) {
  PageReader nodes(finder);
  TreeWalk walk(stream, [&](const PageHash& hash, char* page) { return nodes.Read(hash, page); });
  std::deque<std::pair<std::future<Status>, uint64_t>> writing;
  Batch batch;
  const auto await_oldest = [&]() -> Status {
    Status status = writing.front().first.get();
    if (status.ok() && on_bytes) on_bytes(writing.front().second);
    writing.pop_front();
    return status;
  };
  const auto start = [&]() -> Status {
    const uint64_t bytes = batch.hashes.size() * kPageBytes;
    const uint64_t next = batch.offset + bytes;
    writing.emplace_back(
        std::async(std::launch::async,
                   [finder, file, part = std::move(batch)] { return WriteBatch(finder, part, file); }),
        bytes);
    batch = {{}, next};
    return writing.size() > kBatchesAtOnce ? await_oldest() : absl::OkStatus();
  };
  for (;;) {
    if (cancel.stop_requested()) return Cancelled("reading a checkpoint was cancelled");
    STASIS_ASSIGN_OR_RETURN(const std::vector<PageHash> hashes, walk.Next());
    batch.hashes.insert(batch.hashes.end(), hashes.begin(), hashes.end());
    const bool last = hashes.empty();
    if (batch.hashes.size() >= kBatchPages || (last && !batch.hashes.empty())) {
      STASIS_RETURN_IF_ERROR(start());
    }
    if (last) break;
  }
  while (!writing.empty()) STASIS_RETURN_IF_ERROR(await_oldest());
  // The last page was filled up with zeros; zeros at the end were not written.
  return ::ftruncate(file, static_cast<off_t>(stream.size)) == 0 ? absl::OkStatus()
                                                                 : ErrnoError(errno, "ftruncate");
}

StatusOr<std::string> ReadShortStream(PageFinder* finder, const StreamId& stream, size_t limit) {
  if (stream.size > limit) return MakeError(StatusCode::kOutOfRange, "a stream is longer than it may be");
  PageReader pages(finder);
  TreeWalk walk(stream, [&](const PageHash& hash, char* page) { return pages.Read(hash, page); });
  std::string bytes;
  for (;;) {
    STASIS_ASSIGN_OR_RETURN(const std::vector<PageHash> hashes, walk.Next());
    if (hashes.empty()) break;
    for (const PageHash& hash : hashes) {
      bytes.resize(bytes.size() + kPageBytes);
      STASIS_RETURN_IF_ERROR(pages.Read(hash, bytes.data() + bytes.size() - kPageBytes));
    }
  }
  bytes.resize(stream.size);
  return bytes;
}

}  // namespace stasis::store
