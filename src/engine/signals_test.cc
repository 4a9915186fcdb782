#include "engine/signals.h"

#include <csignal>

#include "gtest/gtest.h"

namespace stasis::engine {
namespace {

TEST(ParseSignalTest, NamesAndNumbersAreUnderstood) {
  EXPECT_EQ(*ParseSignal("SIGTERM"), SIGTERM);
  EXPECT_EQ(*ParseSignal("term"), SIGTERM);
  EXPECT_EQ(*ParseSignal("9"), SIGKILL);
  EXPECT_EQ(*ParseSignal("SIGUSR1"), SIGUSR1);
  EXPECT_EQ(*ParseSignal("SIGRTMIN+3"), 37);
  EXPECT_EQ(*ParseSignal("RTMAX-1"), 63);
}

TEST(ParseSignalTest, NonsenseIsRefusedByName) {
  for (const char* text : {"", "0", "65", "-1", "SIGFOO", "SIG", "SIGRTMIN-1", "RTMIN+99", "9x"}) {
    const auto signal = ParseSignal(text);
    ASSERT_FALSE(signal.ok()) << text;
    EXPECT_EQ(Message(signal.status()), "Invalid signal: " + std::string(text));
  }
}

}  // namespace
}  // namespace stasis::engine
