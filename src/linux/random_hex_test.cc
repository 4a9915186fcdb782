#include "linux/random_hex.h"

#include "gtest/gtest.h"

namespace stasis {
namespace {

TEST(RandomHexTest, GivesTwoLowerCaseDigitsForEachByte) {
  for (size_t bytes : {0u, 1u, 32u, 1000u}) {
    std::string text = RandomHex(bytes);
    EXPECT_EQ(text.size(), bytes * 2);
    EXPECT_EQ(text.find_first_not_of("0123456789abcdef"), text.npos);
  }
}

TEST(RandomHexTest, NeverGivesTheSameTwice) { EXPECT_NE(RandomHex(16), RandomHex(16)); }

}  // namespace
}  // namespace stasis
