#include "cli/target.h"

#include <gtest/gtest.h>

namespace stasis::cli {
namespace {

TEST(TargetTest, PartsAreEncodedAndEmptyParametersLeftOut) {
  EXPECT_EQ(
      Target({"containers", "a/../b", "start"}, {{"checkpoint", "cp 1"}, {"checkpoint-dir", ""}, {"x", "y"}}),
      "/v1.47/containers/a%2F..%2Fb/start?checkpoint=cp%201&x=y");
  EXPECT_EQ(Target({"version"}), "/v1.47/version");
}

TEST(TargetTest, BytesAboveAsciiAreEncoded) { EXPECT_EQ(PercentEncode("\xc3\xa9~"), "%C3%A9~"); }

}  // namespace
}  // namespace stasis::cli
