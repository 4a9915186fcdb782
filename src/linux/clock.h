// Deadlines. Waits are bounded by a point of CLOCK_MONOTONIC, so that a changed wall clock ends none early.
#pragma once

#include <chrono>

namespace stasis {

using Deadline = std::chrono::steady_clock::time_point;

inline constexpr Deadline kNoDeadline = Deadline::max();

inline Deadline After(std::chrono::milliseconds wait) { return std::chrono::steady_clock::now() + wait; }

// What is left as the time-out argument of poll(2): -1 for kNoDeadline, 0 when it has passed, rounded up.
int PollTimeout(Deadline deadline);

}  // namespace stasis
