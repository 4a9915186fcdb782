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

}  // namespace
}  // namespace stasis::cli
