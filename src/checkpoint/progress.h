// Whether a dump moves: bytes in the image directory or in CRIU's log that grow.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace stasis::checkpoint {

inline constexpr std::chrono::seconds kStallLimit{30};
inline constexpr std::chrono::seconds kNoticeInterval{2};

// Told of each step: phase ("prepare", "dump", "memory", "publish" ...) and bytes so far.
using OnProgress = std::function<void(std::string_view phase, uint64_t bytes)>;

// Tells of a phase after each 8 MiB. What it is given outlives it. One thread.
class ByteNotices {
 public:
  ByteNotices(std::string_view phase, const OnProgress& on_progress)
      : phase_(phase), on_progress_(on_progress) {}
  void Add(uint64_t bytes);

 private:
  const std::string_view phase_;
  const OnProgress& on_progress_;
  uint64_t bytes_ = 0;
  uint64_t told_ = 0;
};

class ProgressWatch {
 public:
  using Clock = std::chrono::steady_clock;

  ProgressWatch(std::string images, std::string log, OnProgress on_progress);

  // Looks, and tells `on_progress` at most every kNoticeInterval, only where something grew or the phase is
  // new.
  void Look(std::string_view phase, Clock::time_point now);
  // Nothing has grown for kStallLimit.
  bool Stalled(Clock::time_point now) const { return now - last_growth_ >= kStallLimit; }
  // "nothing moved for 30 s, after 4096 bytes of images and 512 bytes of CRIU's log".
  std::string Describe(Clock::time_point now) const;

 private:
  std::string images_;
  std::string log_;
  OnProgress on_progress_;
  uint64_t image_bytes_ = 0;
  uint64_t log_bytes_ = 0;
  bool untold_ = true;
  std::string phase_;
  Clock::time_point last_growth_;
  Clock::time_point last_notice_;
};

}  // namespace stasis::checkpoint
