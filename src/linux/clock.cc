#include "linux/clock.h"

#include <limits>

namespace stasis {

int PollTimeout(Deadline deadline) {
  if (deadline == kNoDeadline) return -1;
  auto now = std::chrono::steady_clock::now();
  if (deadline <= now) return 0;
  auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - now).count();
  constexpr int kMost = std::numeric_limits<int>::max();
  return left > kMost ? kMost : static_cast<int>(left);
}

}  // namespace stasis
