// Docker's multiplexed stream: frames of an 8-byte header {stream, 0, 0, 0, length big-endian} and a payload
// (API document, ContainerAttach, "Stream format").
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/status.h"

namespace stasis {

// Takes the stream apart as it comes, in pieces of any size; keeps no payload.
class FrameDemultiplexer {
 public:
  // `is_error` tells stderr from stdout.
  using Sink = std::function<Status(bool is_error, std::string_view payload)>;

  // Hands on what is in `bytes`. The sink's error is returned; kDataLoss when this is no such stream. Stream
  // 3
  // ("systemerr") goes to stderr.
  Status Feed(std::string_view bytes, const Sink& sink);
  // Whether the stream may end here.
  bool AtFrameEnd() const { return header_.empty() && left_ == 0; }

 private:
  std::string header_;  // of the next frame, as far as it came
  uint8_t stream_ = 0;
  uint32_t left_ = 0;  // bytes of this frame's payload still to come
};

}  // namespace stasis
