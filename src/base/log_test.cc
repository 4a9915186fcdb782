#include "base/log.h"

#include <gtest/gtest.h>

namespace stasis {
namespace {

TEST(PrintableTest, ControlCharactersAreShownAndTheLimitHoldsForWhatIsShown) {
  EXPECT_EQ(Printable("a\nb\x7f"), "a\\x0ab\\x7f");
  EXPECT_EQ(Printable("abc\n", 7), "abc\\x0a");
  EXPECT_EQ(Printable("abc\nd", 6), "abc");
  EXPECT_EQ(Printable(std::string(10000, '\n'), 4096).size(), 4096u);
}

TEST(PrintableTest, WhatATerminalWouldObeyOrCannotReadIsShownAsBytes) {
  EXPECT_EQ(Printable("\x1b[2J"), "\\x1b[2J");
  EXPECT_EQ(Printable("\xc2\x9b"
                      "2J\xc2\xa0"),
            "\\xc2\\x9b2J\xc2\xa0");  // CSI in one character, and a space
  EXPECT_EQ(Printable("\x9b"), "\\x9b");
  for (const char* whole : {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_EQ(Printable(whole), whole);
  }
  // Overlong ESC, a surrogate, beyond U+10FFFF, cut short, and a length that no character has.
  for (const char* wrong :
       {"\xc0\x9b", "\xe0\x80\x9b", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\xff"}) {
    EXPECT_EQ(Printable(wrong).substr(0, 2), "\\x") << wrong;
    EXPECT_EQ(Printable(wrong).size(), std::string_view(wrong).size() * 4) << wrong;
  }
}

TEST(PrintableTest, TheLimitCutsNoCharacterInTwo) {
  EXPECT_EQ(Printable("ab\xe2\x82\xac", 4), "ab");
  EXPECT_EQ(Printable("ab\xe2\x82\xac", 5), "ab\xe2\x82\xac");
}

}  // namespace
}  // namespace stasis
