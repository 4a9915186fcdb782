#include "checkpoint/progress.h"

#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "linux/files.h"

namespace stasis::checkpoint {
namespace {

using std::chrono::seconds;

TEST(ProgressWatchTest, GrowthIsProgressAndSilenceIsNone) {
  auto temporary = TemporaryDirectory::Create("/tmp", "progress-");
  ASSERT_TRUE(temporary.ok());
  std::string images = temporary->path();
  std::vector<std::pair<std::string, uint64_t>> told;
  ProgressWatch watch(images, images + "/no.log",
                      [&](std::string_view phase, uint64_t bytes) { told.emplace_back(phase, bytes); });
  auto now = ProgressWatch::Clock::now();

  watch.Look("dump", now);
  ASSERT_EQ(told.size(), 1u) << "a new phase is told at once";
  ASSERT_TRUE(WriteFileAtomically(images + "/pages-1.img", "12345").ok());
  watch.Look("dump", now + seconds(1));
  EXPECT_EQ(told.size(), 1u) << "not more often than every two seconds";
  watch.Look("dump", now + seconds(2));
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[1], (std::pair<std::string, uint64_t>("dump", 5)));

  watch.Look("dump", now + seconds(20));
  EXPECT_EQ(told.size(), 2u) << "nothing grew";
  EXPECT_FALSE(watch.Stalled(now + seconds(30)));
  EXPECT_TRUE(watch.Stalled(now + seconds(31)));
  EXPECT_NE(watch.Describe(now + seconds(31)).find("for 30 s, after 5 bytes"), std::string::npos);
}

}  // namespace
}  // namespace stasis::checkpoint
