#include "cli/units.h"

#include <gtest/gtest.h>

namespace stasis::cli {
namespace {

TEST(UnitsTest, SizesAreReadAsDockerReadsThem) {
  EXPECT_EQ(*ParseBytes("1024"), 1024);
  EXPECT_EQ(*ParseBytes("64m"), 64 << 20);
  EXPECT_EQ(*ParseBytes("64MB"), 64 << 20);
  EXPECT_EQ(*ParseBytes("1.5GiB"), 3ll << 29);
  EXPECT_EQ(*ParseBytes("10b"), 10);
  for (const char* bad : {"", "m", "-1", "1x", "1mm", "nan", "inf", "99999999p"})
    EXPECT_FALSE(ParseBytes(bad).ok()) << bad;
}

TEST(UnitsTest, SizesAreShownWithThreeDigits) {
  EXPECT_EQ(HumanSize(0), "0B");
  EXPECT_EQ(HumanSize(999), "999B");
  EXPECT_EQ(HumanSize(1'234'567), "1.23MB");
  EXPECT_EQ(HumanSize(2'000'000'000), "2GB");
}

TEST(UnitsTest, DurationsReadAsDockersDo) {
  EXPECT_EQ(HumanDuration(absl::Milliseconds(10)), "Less than a second");
  EXPECT_EQ(HumanDuration(absl::Seconds(1)), "1 second");
  EXPECT_EQ(HumanDuration(absl::Seconds(61)), "About a minute");
  EXPECT_EQ(HumanDuration(absl::Minutes(60)), "About an hour");
  EXPECT_EQ(HumanDuration(absl::Hours(47)), "47 hours");
  EXPECT_EQ(HumanDuration(absl::Hours(24 * 20)), "2 weeks");
  EXPECT_EQ(HumanDuration(absl::Hours(24 * 800)), "2 years");
}

TEST(UnitsTest, TimesMayBeRelativeAbsoluteOrUnix) {
  const absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  EXPECT_EQ(*TimeParameter("1h30m", now), "1699994600.000000000");
  EXPECT_EQ(*TimeParameter("2020-01-01T00:00:00Z", now), "1577836800.000000000");
  EXPECT_EQ(*TimeParameter("1600000000.5", now), "1600000000.500000000");
  EXPECT_TRUE(TimeParameter("2020-01-01", now).ok());
  EXPECT_FALSE(TimeParameter("yesterday", now).ok());
}

}  // namespace
}  // namespace stasis::cli
