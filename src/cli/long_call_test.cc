#include "cli/long_call.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace stasis::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Seen {
  std::vector<std::string> shown;
  StatusOr<Json> result = Json();
};

// The answer in pieces of three bytes.
Seen Take(std::string_view answer) {
  Seen seen;
  LongAnswer taken([&](const std::string& text) { seen.shown.push_back(text); });
  for (size_t at = 0; at < answer.size(); at += 3) {
    if (Status status = taken.Feed(answer.substr(at, 3)); !status.ok()) {
      seen.result = status;
      return seen;
    }
  }
  seen.result = taken.Finish();
  return seen;
}

TEST(LongCallTest, ProgressIsShownAndTheResultIsTheLastLine) {
  const Seen seen = Take(
      "{\"progress\":{\"phase\":\"memory\",\"bytes\":1000000,\"total\":3000000,\"bytes_per_second\":1000000}}"
      "\n"
      "{\"progress\":{\"phase\":\"publish\",\"bytes\":5}}\n{\"result\":{\"a\":1}}\n");
  EXPECT_THAT(seen.shown, ElementsAre("memory: 1MB of 3MB, 1MB/s, 2 s left", "publish: 5B"));
  ASSERT_TRUE(seen.result.ok()) << seen.result.status();
  EXPECT_EQ(*seen.result, Json({{"a", 1}}));
}

TEST(LongCallTest, WhatIsDoneAtOnceIsTheResultItself) {
  EXPECT_EQ(*Take("[1,2]\n").result, Json({1, 2}));
  EXPECT_EQ(*Take("{\"error\":\"a field of it\"}").result, Json({{"error", "a field of it"}}));
  EXPECT_TRUE(Take("").result->is_null());
  EXPECT_THAT(Take("[1,2]\n").shown, IsEmpty());
}

TEST(LongCallTest, ErrorsAndAnswersThatAreCutOffAreErrors) {
  const std::string progress = "{\"progress\":{\"phase\":\"x\"}}\n";
  EXPECT_EQ(Message(Take(progress + "{\"error\":\"no space\"}\n").result.status()),
            "Error response from daemon: no space");
  EXPECT_EQ(Message(Take(progress).result.status()), "the daemon's answer was cut off");
  EXPECT_FALSE(Take("{\"progress\":7}\n").result.ok());
  EXPECT_FALSE(Take("nonsense\n").result.ok());
  EXPECT_TRUE(Take(progress + "{\"result\":null}\n").result->is_null());
}

TEST(LongCallTest, MoreThanTheTotalIsNoCountdown) {
  EXPECT_EQ(*ProgressText({{"phase", "p\x1b"}, {"bytes", 2000}, {"total", 1000}, {"bytes_per_second", 10}}),
            "p\\x1b: 2kB, 10B/s");
}

}  // namespace
}  // namespace stasis::cli
