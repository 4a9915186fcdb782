#include "linux/clock.h"

#include <limits>

#include "gtest/gtest.h"

namespace stasis {
namespace {

using std::chrono::milliseconds;

TEST(ClockTest, NoDeadlineWaitsForEver) { EXPECT_EQ(PollTimeout(kNoDeadline), -1); }

TEST(ClockTest, APassedDeadlineDoesNotWait) { EXPECT_EQ(PollTimeout(After(milliseconds(-5))), 0); }

TEST(ClockTest, WhatIsLeftIsRoundedUp) {
  Deadline soon = std::chrono::steady_clock::now() + std::chrono::seconds(10) + std::chrono::microseconds(1);
  EXPECT_GT(PollTimeout(soon), 5000);
  EXPECT_LE(PollTimeout(soon), 10001);
  // Less than a millisecond is still a wait, else callers would spin.
  Deadline next = std::chrono::steady_clock::now() + std::chrono::microseconds(900);
  EXPECT_LE(PollTimeout(next), 1);
}

TEST(ClockTest, FarDeadlinesFitIntoAnInt) {
  EXPECT_EQ(PollTimeout(std::chrono::steady_clock::now() + std::chrono::hours(24 * 365)),
            std::numeric_limits<int>::max());
}

}  // namespace
}  // namespace stasis
