#include "store/stream_writer.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string_view>

namespace stasis::store {
namespace {

constexpr size_t kChunk = 1 << 20;

}  // namespace

StatusOr<StreamId> AddFile(Writer* writer, int file, uint64_t limit,
                           const std::function<Status(uint64_t)>& on_bytes, const std::stop_token& cancel) {
  limit = std::min(limit, kMaxStream);
  const size_t size = std::min<uint64_t>(kChunk, limit);
  const auto buffer = std::make_unique_for_overwrite<char[]>(size);
  for (uint64_t read = 0; read < limit;) {
    if (cancel.stop_requested()) return Cancelled("the checkpoint was cancelled");
    const size_t wanted = std::min<uint64_t>(size, limit - read);
    const ssize_t got = ::pread(file, buffer.get(), wanted, static_cast<off_t>(read));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoError(errno, "read a file to be saved");
    if (got == 0) break;
    const auto bytes = static_cast<size_t>(got);
    STASIS_RETURN_IF_ERROR(writer->Append(std::string_view(buffer.get(), bytes)));
    read += bytes;
    STASIS_RETURN_IF_ERROR(on_bytes(bytes));
  }
  return writer->EndStream();
}

}  // namespace stasis::store
