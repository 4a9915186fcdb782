// Makes few words of progress from many small steps: for who asked for the work, and for the events.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string_view>

#include "backend/progress.h"
#include "engine/supervisor.h"

namespace stasis::engine {

// One thread.
class ProgressMeter {
 public:
  using Clock = std::chrono::steady_clock;

  // `on_progress` is called as backend::OnProgress says, `on_event` more seldom the longer the work takes
  // (some 40 times in an hour), so that others find room among the events. Either may be empty.
  ProgressMeter(backend::OnProgress on_progress, backend::OnProgress on_event,
                std::function<Clock::time_point()> now = Clock::now);

  // A new phase. `total`: 0 where it cannot be told.
  void Begin(std::string_view phase, uint64_t total);
  void Add(uint64_t bytes) { Set(progress_.bytes + bytes); }
  // So many bytes of this phase are done.
  void Set(uint64_t bytes);
  const backend::Progress& progress() const { return progress_; }

 private:
  backend::OnProgress on_progress_, on_event_;
  std::function<Clock::time_point()> now_;
  backend::Progress progress_;
  Clock::time_point began_, phase_began_, last_notice_, last_event_;
};

// Tells the meter what the supervisor says of a container's checkpoint or restore. The meter outlives it.
Supervisor::OnLook Looks(ProgressMeter& meter);

}  // namespace stasis::engine
