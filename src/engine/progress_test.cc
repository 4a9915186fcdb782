#include "engine/progress.h"

#include <gtest/gtest.h>

#include <vector>

namespace stasis::engine {
namespace {

class ProgressTest : public ::testing::Test {
 protected:
  void Pass(int milliseconds) { now_ += std::chrono::milliseconds(milliseconds); }

  ProgressMeter::Clock::time_point now_;
  std::vector<backend::Progress> told_, events_;
  ProgressMeter meter_{[this](const auto& progress) { told_.push_back(progress); },
                       [this](const auto& progress) { events_.push_back(progress); },
                       [this] { return now_; }};
};

TEST_F(ProgressTest, WhatIsShortIsNotTold) {
  meter_.Begin("packs", 100);
  for (int i = 0; i < 9; ++i) {
    Pass(100);
    meter_.Add(10);
  }
  EXPECT_TRUE(told_.empty());
}

TEST_F(ProgressTest, OnceASecondWithTheRateOfThePhase) {
  meter_.Begin("packs", 100);
  Pass(2000);
  meter_.Add(40);
  meter_.Add(40);
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_EQ(told_[0].phase, "packs");
  EXPECT_EQ(told_[0].bytes, 40u);
  EXPECT_EQ(told_[0].total, 100u);
  EXPECT_EQ(told_[0].bytes_per_second, 20u);
  meter_.Begin("checkpoints", 0);
  Pass(1000);
  meter_.Set(5);
  ASSERT_EQ(told_.size(), 2u);
  EXPECT_EQ(told_[1].bytes, 5u);
  EXPECT_EQ(told_[1].bytes_per_second, 5u);
}

TEST_F(ProgressTest, WhatTheSupervisorSaysOfAContainerIsTold) {
  const Supervisor::OnLook look = Looks(meter_);
  types::Container seen;
  seen.set_checkpoint_phase("unpack");
  seen.set_checkpoint_bytes(10);
  look(seen);
  seen.set_checkpoint_phase("memory");
  seen.set_checkpoint_bytes(20);
  look(seen);
  Pass(1000);
  seen.set_checkpoint_bytes(40);
  look(seen);
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_EQ(told_[0].phase, "memory");
  EXPECT_EQ(told_[0].bytes, 40u);
  EXPECT_EQ(told_[0].bytes_per_second, 40u);
}

TEST_F(ProgressTest, APhaseThatHasJustBeenNoticedHasNoRateYet) {
  Pass(5000);
  meter_.Begin("memory", 0);
  meter_.Set(1'000'000'000);
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_EQ(told_[0].bytes_per_second, 0u);
}

TEST_F(ProgressTest, EventsBecomeSeldom) {
  meter_.Begin("packs", 0);
  for (int i = 0; i < 3600; ++i) {
    Pass(1000);
    meter_.Add(1);
  }
  EXPECT_EQ(told_.size(), 3600u);
  EXPECT_GT(events_.size(), 10u);
  EXPECT_LT(events_.size(), 50u);
}

}  // namespace
}  // namespace stasis::engine
