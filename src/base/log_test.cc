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

}  // namespace
}  // namespace stasis
