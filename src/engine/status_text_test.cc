#include "engine/status_text.h"

#include "gtest/gtest.h"

namespace stasis::engine {
namespace {

TEST(HumanDurationTest, SaysWhatDockerSays) {
  EXPECT_EQ(HumanDuration(absl::Milliseconds(400)), "Less than a second");
  EXPECT_EQ(HumanDuration(absl::Seconds(1)), "1 second");
  EXPECT_EQ(HumanDuration(absl::Seconds(3)), "3 seconds");
  EXPECT_EQ(HumanDuration(absl::Seconds(70)), "About a minute");
  EXPECT_EQ(HumanDuration(absl::Minutes(5)), "5 minutes");
  EXPECT_EQ(HumanDuration(absl::Minutes(62)), "About an hour");
  EXPECT_EQ(HumanDuration(absl::Hours(5)), "5 hours");
  EXPECT_EQ(HumanDuration(absl::Hours(24 * 3)), "3 days");
  EXPECT_EQ(HumanDuration(absl::Hours(24 * 21)), "3 weeks");
  EXPECT_EQ(HumanDuration(absl::Hours(24 * 90)), "3 months");
  EXPECT_EQ(HumanDuration(absl::Hours(24 * 365 * 3)), "3 years");
}

TEST(StatusTextTest, FollowsTheState) {
  const absl::Time now = absl::FromUnixSeconds(1700000000);
  backend::ContainerState state;
  state.status = "created";
  EXPECT_EQ(StatusText(state, now), "Created");

  state.status = "running";
  state.running = true;
  state.started_at = now - absl::Seconds(3);
  EXPECT_EQ(StatusText(state, now), "Up 3 seconds");
  state.paused = true;
  EXPECT_EQ(StatusText(state, now), "Up 3 seconds (Paused)");

  state = {};
  state.status = "exited";
  state.exit_code = 137;
  state.finished_at = now - absl::Minutes(5);
  EXPECT_EQ(StatusText(state, now), "Exited (137) 5 minutes ago");
}

TEST(CommandTextTest, QuotesArgumentsWithBlanks) {
  EXPECT_EQ(CommandText({"sh", "-c", "echo a"}), "sh -c 'echo a'");
  EXPECT_EQ(CommandText({"true"}), "true");
}

}  // namespace
}  // namespace stasis::engine
