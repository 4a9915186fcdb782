#include "base/hex.h"

#include <gtest/gtest.h>

namespace stasis {
namespace {

TEST(HexTest, ThereAndBack) {
  std::string all(256, '\0');
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<char>(i);
  EXPECT_EQ(ToHex(all).substr(0, 6), "000102");
  EXPECT_EQ(ToHex(all).substr(506), "fdfeff");
  EXPECT_EQ(FromHex(ToHex(all)), all);
  EXPECT_EQ(FromHex(""), "");
}

TEST(HexTest, OtherTextIsNoHex) {
  for (const char* text : {"0", "000", "0g", "g0", "0F", " 0", "0x00"})
    EXPECT_EQ(FromHex(text), std::nullopt) << text;
}

TEST(PercentEncodeTest, AllButUnreservedCharactersAreEncoded) {
  EXPECT_EQ(PercentEncode("aZ0-._~ /\xc3\xa9"), "aZ0-._~%20%2F%C3%A9");
}

}  // namespace
}  // namespace stasis
