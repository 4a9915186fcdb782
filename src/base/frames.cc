#include "base/frames.h"

#include <algorithm>

namespace stasis {
namespace {

constexpr size_t kHeaderSize = 8;
constexpr uint8_t kStdout = 1;
constexpr uint8_t kSystemError = 3;

}  // namespace

Status FrameDemultiplexer::Feed(std::string_view bytes, const Sink& sink) {
  while (!bytes.empty()) {
    if (left_ == 0) {
      const size_t take = std::min(kHeaderSize - header_.size(), bytes.size());
      header_.append(bytes.substr(0, take));
      bytes.remove_prefix(take);
      if (header_.size() < kHeaderSize) return absl::OkStatus();
      stream_ = static_cast<uint8_t>(header_[0]);
      for (size_t i = 4; i < kHeaderSize; ++i) left_ = left_ << 8 | static_cast<uint8_t>(header_[i]);
      header_.clear();
      if (stream_ > kSystemError) return DataLoss("the daemon's stream has a frame of an unknown kind");
      continue;
    }
    const std::string_view payload = bytes.substr(0, std::min<size_t>(left_, bytes.size()));
    bytes.remove_prefix(payload.size());
    left_ -= static_cast<uint32_t>(payload.size());
    STASIS_RETURN_IF_ERROR(sink(stream_ > kStdout, payload));
  }
  return absl::OkStatus();
}

}  // namespace stasis
