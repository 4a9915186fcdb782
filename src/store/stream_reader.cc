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

// Pages to be read, in order.
struct Batch {
  std::vector<PageHash> hashes;
  // Where they follow each other: from this one on, at this offset.
  struct Piece {
    size_t first = 0;
    uint64_t offset = 0;
  };
  std::vector<Piece> pieces;

  void Add(const PageHash& hash, uint64_t offset) {
    if (pieces.empty() || pieces.back().offset + (hashes.size() - pieces.back().first) * kPageBytes != offset)
      pieces.push_back({hashes.size(), offset});
    hashes.push_back(hash);
  }
};

Status TakePiece(PageReader* reader, std::span<const PageHash> hashes, uint64_t offset,
                 const StreamSink& sink) {
  static constexpr char kZeros[kPageBytes] = {};
  while (!hashes.empty()) {
    std::string_view pages(kZeros, kPageBytes);
    if (hashes.front() != ZeroPage()) {
      STASIS_ASSIGN_OR_RETURN(pages, reader->ReadRun(hashes));
      STASIS_RETURN_IF_ERROR(sink.take(offset, pages));
    } else if (sink.take_zeros) {
      STASIS_RETURN_IF_ERROR(sink.take_zeros(offset, pages));
    }
    hashes = hashes.subspan(pages.size() / kPageBytes);
    offset += pages.size();
  }
  return absl::OkStatus();
}

Status TakeBatch(PageReader* reader, const Batch& batch, const StreamSink& sink) {
  const std::span<const PageHash> all(batch.hashes);
  for (size_t i = 0; i < batch.pieces.size(); ++i) {
    const size_t first = batch.pieces[i].first;
    const size_t end = i + 1 < batch.pieces.size() ? batch.pieces[i + 1].first : all.size();
    STASIS_RETURN_IF_ERROR(TakePiece(reader, all.subspan(first, end - first), batch.pieces[i].offset, sink));
  }
  return absl::OkStatus();
}

}  // namespace

Status StreamReader::Read(const StreamId& stream, const StreamSink& sink,
                          const std::function<void(uint64_t)>& on_bytes, const std::stop_token& cancel) {
  TreeWalk walk(stream, [&](const PageHash& hash, char* page) { return pages_.Read(hash, page); });
  std::deque<std::pair<std::future<Status>, uint64_t>> taking;
  Batch batch;
  const auto await_oldest = [&]() -> Status {
    Status status = taking.front().first.get();
    if (status.ok() && on_bytes) on_bytes(taking.front().second);
    taking.pop_front();
    return status;
  };
  const auto take_aside = [&]() -> Status {
    const uint64_t bytes = batch.hashes.size() * kPageBytes;
    taking.emplace_back(std::async(std::launch::async,
                                   [this, &sink, part = std::move(batch)] {
                                     PageReader reader(finder_);
                                     return TakeBatch(&reader, part, sink);
                                   }),
                        bytes);
    batch = {};
    return taking.size() > kBatchesAtOnce ? await_oldest() : absl::OkStatus();
  };
  for (uint64_t offset = 0;;) {
    if (cancel.stop_requested()) return Cancelled("reading a checkpoint was cancelled");
    STASIS_ASSIGN_OR_RETURN(const std::vector<PageHash> hashes, walk.Next());
    if (hashes.empty()) break;
    for (const PageHash& hash : hashes) {
      if (!sink.wants || sink.wants(offset)) batch.Add(hash, offset);
      offset += kPageBytes;
    }
    if (batch.hashes.size() >= kBatchPages) {
      STASIS_RETURN_IF_ERROR(take_aside());
    }
  }
  STASIS_RETURN_IF_ERROR(TakeBatch(&pages_, batch, sink));
  if (on_bytes) on_bytes(batch.hashes.size() * kPageBytes);
  while (!taking.empty()) STASIS_RETURN_IF_ERROR(await_oldest());
  return absl::OkStatus();
}

Status StreamReader::Read(const StreamId& stream, int file, const std::function<void(uint64_t)>& on_bytes,
                          const std::stop_token& cancel) {
  StreamSink sink;
  sink.take = [file](uint64_t offset, std::string_view pages) {
    return Annotate(WriteAllAt(file, pages, offset), "write what a checkpoint holds");
  };
  STASIS_RETURN_IF_ERROR(Read(stream, sink, on_bytes, cancel));
  // The last page was filled up with zeros; zeros at the end were not written.
  return ::ftruncate(file, static_cast<off_t>(stream.size)) == 0 ? absl::OkStatus()
                                                                 : ErrnoError(errno, "ftruncate");
}

Status ReadInOrder(PageFinder* finder, const StreamId& stream,
                   const std::function<Status(std::string_view bytes)>& take, const std::stop_token& cancel) {
  PageReader nodes(finder);
  PageReader pages(finder);
  TreeWalk walk(stream, [&](const PageHash& hash, char* page) { return nodes.Read(hash, page); });
  uint64_t left = stream.size;
  // The last page was filled up with zeros.
  const auto take_pages = [&](uint64_t, std::string_view bytes) {
    bytes = bytes.substr(0, left);
    left -= bytes.size();
    return take(bytes);
  };
  const StreamSink sink = {{}, take_pages, take_pages};
  for (;;) {
    if (cancel.stop_requested()) return Cancelled("reading a checkpoint was cancelled");
    STASIS_ASSIGN_OR_RETURN(const std::vector<PageHash> hashes, walk.Next());
    if (hashes.empty()) return absl::OkStatus();
    STASIS_RETURN_IF_ERROR(TakePiece(&pages, hashes, 0, sink));
  }
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
