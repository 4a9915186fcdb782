#include "engine/restart_policy.h"

#include "gtest/gtest.h"

namespace stasis::engine {
namespace {

TEST(RestartDelayTest, DoublesUpToAMinuteAndBeginsAnewAfterALongRun) {
  RestartQuestion question;
  question.policy = "always";
  EXPECT_EQ(RestartDelay(question), absl::Milliseconds(100));
  question.last_delay = absl::Milliseconds(100);
  EXPECT_EQ(RestartDelay(question), absl::Milliseconds(200));
  question.last_delay = absl::Seconds(50);
  EXPECT_EQ(RestartDelay(question), absl::Minutes(1));
  question.ran_for = absl::Seconds(11);
  EXPECT_EQ(RestartDelay(question), absl::Milliseconds(100));
}

TEST(RestartDelayTest, OnFailureCountsAndLooksAtTheExitCode) {
  RestartQuestion question;
  question.policy = "on-failure";
  question.maximum = 2;
  EXPECT_FALSE(RestartDelay(question));
  question.exit_code = 1;
  EXPECT_TRUE(RestartDelay(question));
  question.restart_count = 2;
  EXPECT_FALSE(RestartDelay(question));
}

TEST(RestartDelayTest, WhatTheUserStoppedStaysStopped) {
  RestartQuestion question;
  question.policy = "always";
  question.stopped_by_user = true;
  EXPECT_FALSE(RestartDelay(question));
  question.policy = "";
  question.stopped_by_user = false;
  EXPECT_FALSE(RestartDelay(question));
}

TEST(CheckRestartPolicyTest, RefusesWhatDockerRefuses) {
  EXPECT_TRUE(CheckRestartPolicy("", 0, true).ok());
  EXPECT_TRUE(CheckRestartPolicy("on-failure", 3, false).ok());
  EXPECT_FALSE(CheckRestartPolicy("sometimes", 0, false).ok());
  EXPECT_FALSE(CheckRestartPolicy("always", 3, false).ok());
  EXPECT_FALSE(CheckRestartPolicy("always", 0, true).ok());
  EXPECT_FALSE(CheckRestartPolicy("on-failure", -1, false).ok());
}

}  // namespace
}  // namespace stasis::engine
