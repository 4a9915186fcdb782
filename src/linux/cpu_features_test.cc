#include "linux/cpu_features.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace stasis {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(CpuFeaturesTest, TellsWhatProgramsUse) {
  EXPECT_THAT(ParseCpuFeatures("processor\t: 0\nflags\t\t: fpu vme sse4_2 avx512f ibpb avx2\nbugs\t\t: x\n"
                               "processor\t: 1\nflags\t\t: aes\n"),
              ElementsAre("avx2", "avx512f", "sse4_2"));
  EXPECT_THAT(ParseCpuFeatures("Features\t: fp asimd\n"), IsEmpty());
  EXPECT_THAT(ParseCpuFeatures("\nflags"), IsEmpty());
}

}  // namespace
}  // namespace stasis
