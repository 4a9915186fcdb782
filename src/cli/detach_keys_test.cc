#include "cli/detach_keys.h"

#include <gtest/gtest.h>

namespace stasis::cli {
namespace {

TEST(DetachKeysTest, TheKeysDetachAlsoInTwoPieces) {
  DetachKeys keys;
  EXPECT_EQ(keys.Feed("ab\x10").bytes, "ab");
  const auto last = keys.Feed("\x11rest");
  EXPECT_TRUE(last.detach);
  EXPECT_EQ(last.bytes, "");
}

TEST(DetachKeysTest, AHeldKeyIsSentWhenAnotherFollows) {
  DetachKeys keys;
  EXPECT_EQ(keys.Feed("\x10").bytes, "");
  EXPECT_EQ(keys.Feed("\x10x\x11").bytes, "\x10\x10x\x11");
}

}  // namespace
}  // namespace stasis::cli
