#include "store/stream_writer.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string_view>

namespace stasis::store {
namespace {

constexpr size_t kChunk = 1 << 20;

// How long the hole is in which `at` lies; 0: in none, or behind the end.
StatusOr<uint64_t> HoleAt(int file, uint64_t at) {
  const off_t data = ::lseek(file, static_cast<off_t>(at), SEEK_DATA);
  if (data >= 0) return static_cast<uint64_t>(data) - at;
  if (errno != ENXIO) return 0;  // this file system does not tell
  // No data from here on.
  struct stat info;
  if (::fstat(file, &info) != 0) return ErrnoError(errno, "look at a file to be saved");
  const auto end = static_cast<uint64_t>(info.st_size);
  return end > at ? end - at : 0;
}

}  // namespace

StatusOr<StreamId> AddFile(Writer* writer, int file, uint64_t limit,
                           const std::function<Status(uint64_t)>& on_bytes, const std::stop_token& cancel) {
  limit = std::min(limit, kMaxStream);
  const size_t size = std::min<uint64_t>(kChunk, limit);
  const auto buffer = std::make_unique_for_overwrite<char[]>(size);
  for (uint64_t at = 0; at < limit;) {
    if (cancel.stop_requested()) return Cancelled("the checkpoint was cancelled");
    STASIS_ASSIGN_OR_RETURN(const uint64_t hole, HoleAt(file, at));
    if (hole >= kChunk) {
      const uint64_t zeros = std::min(hole, limit - at);
      STASIS_RETURN_IF_ERROR(writer->AppendZeros(zeros));
      at += zeros;
      continue;
    }
    const size_t wanted = std::min<uint64_t>(size, limit - at);
    const ssize_t got = ::pread(file, buffer.get(), wanted, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoError(errno, "read a file to be saved");
    if (got == 0) break;
    const auto bytes = static_cast<size_t>(got);
    STASIS_RETURN_IF_ERROR(writer->Append(std::string_view(buffer.get(), bytes)));
    at += bytes;
    STASIS_RETURN_IF_ERROR(on_bytes(bytes));
  }
  return writer->EndStream();
}

StatusOr<StreamId> StreamIdOf(std::string_view bytes) {
  PageHasher hasher;
  const auto hash = [&](const char* page) { return IsZeroPage(page) ? ZeroPage() : hasher.Hash(page); };
  TreeBuilder tree([&](const char* node) -> StatusOr<PageHash> { return hasher.Hash(node); });
  size_t at = 0;
  for (; bytes.size() - at >= kPageBytes; at += kPageBytes)
    STASIS_RETURN_IF_ERROR(tree.Add(hash(bytes.data() + at)));
  if (at < bytes.size()) {
    std::string last(bytes.substr(at));
    last.resize(kPageBytes, '\0');
    STASIS_RETURN_IF_ERROR(tree.Add(hash(last.data())));
  }
  return tree.Finish(bytes.size());
}

}  // namespace stasis::store
