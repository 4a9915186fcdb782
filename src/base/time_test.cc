#include "base/time.h"

#include "gtest/gtest.h"

namespace stasis {
namespace {

TEST(TimeTest, FormatsAsGo) {
  absl::Time time = absl::FromUnixNanos(1700000000500000000);
  EXPECT_EQ(ToRfc3339(time), "2023-11-14T22:13:20.5Z");
  EXPECT_EQ(ToLogTime(time), "2023-11-14T22:13:20.500000000Z");
  EXPECT_EQ(ToRfc3339(absl::InfinitePast()), "0001-01-01T00:00:00Z");
}

TEST(TimeTest, ReadsWhatClientsSend) {
  EXPECT_EQ(*ParseUnixTime("1700000000.000000001"), absl::FromUnixNanos(1700000000000000001));
  EXPECT_EQ(*ParseUnixTime("1700000000.5"), absl::FromUnixNanos(1700000000500000000));
  EXPECT_EQ(*ParseUnixTime("2023-11-14T22:13:20Z"), absl::FromUnixSeconds(1700000000));
  for (const char* bad : {"", "x", "1.", "1.-5", "1.0000000001"}) {
    EXPECT_FALSE(ParseUnixTime(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace stasis
