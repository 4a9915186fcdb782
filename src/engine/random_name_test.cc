#include "engine/random_name.h"

#include "base/names.h"
#include "gtest/gtest.h"

namespace stasis::engine {
namespace {

TEST(MadeUpNameTest, IsALegalContainerName) {
  for (uint64_t random = 0; random < 70000; random += 251) {
    EXPECT_TRUE(ContainerName::Parse(MadeUpName(random, 0)).ok()) << MadeUpName(random, 0);
    EXPECT_TRUE(ContainerName::Parse(MadeUpName(random, 5)).ok());
  }
}

TEST(MadeUpNameTest, LaterAttemptsEndWithADigit) {
  EXPECT_FALSE(isdigit(MadeUpName(0, 2).back()));
  EXPECT_TRUE(isdigit(MadeUpName(0, 3).back()));
}

}  // namespace
}  // namespace stasis::engine
