#include "oci/platform.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "oci/seccomp.h"

namespace stasis::oci {
namespace {

using testing::HasSubstr;

std::string Parsed(std::string_view text) {
  StatusOr<Platform> platform = ParsePlatform(text);
  return platform.ok() ? FormatPlatform(*platform) : Message(platform.status());
}

bool Fits(std::string_view image, std::string_view wanted) {
  return Satisfies(*ParsePlatform(image), *ParsePlatform(wanted));
}

TEST(PlatformTest, IsReadAsDockerReadsIt) {
  EXPECT_EQ(Parsed("linux/arm64"), "linux/arm64");
  EXPECT_EQ(Parsed("Linux/x86_64"), "linux/amd64");
  EXPECT_EQ(Parsed("linux/aarch64/8"), "linux/arm64/v8");
  EXPECT_EQ(Parsed("linux/arm/v7"), "linux/arm/v7");
  EXPECT_EQ(Parsed("linux/armhf"), "linux/arm");
  EXPECT_EQ(Parsed("armel"), "linux/arm/v6");
  EXPECT_EQ(Parsed("s390x"), "linux/s390x");
  EXPECT_EQ(Parsed("windows/amd64"), "windows/amd64");
  EXPECT_EQ(Parsed("linux"), "linux/" + NativeArchitecture());
  EXPECT_EQ(Parsed("plan10"), "\"plan10\": unknown operating system or architecture: invalid argument");
  EXPECT_EQ(Parsed("a/b/c/d"), "\"a/b/c/d\": cannot parse platform specifier: invalid argument");
  for (const char* bad : {"", "/", "linux/", "linux/*", "linux/\x1b[2J"}) {
    EXPECT_THAT(Parsed(bad), HasSubstr("is an invalid component of")) << bad;
  }
}

TEST(PlatformTest, IsShownWithoutWhatIsNotSaid) {
  EXPECT_EQ(FormatPlatform({}), "unknown");
  EXPECT_EQ(FormatPlatform({"linux", "", ""}), "linux");
  EXPECT_EQ(FormatPlatform({"linux", "arm64", "v8"}), "linux/arm64/v8");
}

TEST(PlatformTest, AnImageServesWhoAsksForAnotherThatRunsIt) {
  EXPECT_TRUE(Fits("linux/amd64", "linux/amd64"));
  EXPECT_TRUE(Fits("linux/amd64", "linux/amd64/v3"));
  EXPECT_TRUE(Fits("linux/amd64/v2", "linux/amd64/v3"));
  EXPECT_FALSE(Fits("linux/amd64/v3", "linux/amd64/v2"));
  EXPECT_TRUE(Fits("linux/386", "linux/amd64"));
  EXPECT_FALSE(Fits("linux/amd64", "linux/386"));
  EXPECT_FALSE(Fits("linux/amd64", "linux/arm64"));
  EXPECT_FALSE(Fits("linux/amd64", "windows/amd64"));
  EXPECT_TRUE(Fits("linux/arm64", "linux/arm64/v8"));
  EXPECT_TRUE(Fits("linux/arm64/v8", "linux/arm64"));
  EXPECT_TRUE(Fits("linux/arm64/v8", "linux/arm64/v9"));
  EXPECT_FALSE(Fits("linux/arm64/v9", "linux/arm64"));
  EXPECT_TRUE(Fits("linux/arm/v7", "linux/arm64"));
  EXPECT_TRUE(Fits("linux/arm/v6", "linux/arm/v7"));
  EXPECT_FALSE(Fits("linux/arm/v7", "linux/arm/v6"));
  EXPECT_TRUE(Fits("linux/arm", "linux/arm/v6")) << "it says no variant";
  EXPECT_TRUE(Satisfies({"", "amd64", ""}, {"linux", "amd64", ""}));
  EXPECT_FALSE(Satisfies({}, {"linux", "amd64", ""}));
}

}  // namespace
}  // namespace stasis::oci
