#include "engine/progress.h"

#include <algorithm>
#include <utility>

namespace stasis::engine {
namespace {

constexpr std::chrono::seconds kNotice{1};

}  // namespace

ProgressMeter::ProgressMeter(backend::OnProgress on_progress, backend::OnProgress on_event,
                             std::function<Clock::time_point()> now)
    : on_progress_(std::move(on_progress)),
      on_event_(std::move(on_event)),
      now_(std::move(now)),
      began_(now_()),
      phase_began_(began_),
      last_notice_(began_),
      last_event_(began_) {}

void ProgressMeter::Begin(std::string_view phase, uint64_t total) {
  phase_began_ = now_();
  progress_ = {std::string(phase), 0, total, 0};
}

void ProgressMeter::Set(uint64_t bytes) {
  progress_.bytes = bytes;
  const Clock::time_point now = now_();
  if (now - last_notice_ < kNotice) return;
  last_notice_ = now;
  // A phase that has only been noticed may have been under way for a while.
  const double seconds = std::chrono::duration<double>(now - phase_began_).count();
  progress_.bytes_per_second =
      seconds >= 0.5 ? static_cast<uint64_t>(static_cast<double>(progress_.bytes) / seconds) : 0;
  if (on_progress_) on_progress_(progress_);
  if (!on_event_ || now - last_event_ < std::max<Clock::duration>(kNotice, (now - began_) / 5)) return;
  last_event_ = now;
  on_event_(progress_);
}

Supervisor::OnLook Looks(ProgressMeter& meter) {
  return [&meter](const types::Container& seen) {
    if (seen.checkpoint_phase() != meter.progress().phase)
      meter.Begin(seen.checkpoint_phase(), seen.checkpoint_total());
    meter.Set(seen.checkpoint_bytes());
  };
}

}  // namespace stasis::engine
