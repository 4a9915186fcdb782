#include "base/detach_keys.h"

#include "gtest/gtest.h"

namespace stasis {
namespace {

TEST(DetachKeysTest, WhatIsTypedGoesOnUntilTheKeysArePressed) {
  DetachKeys keys;
  EXPECT_EQ(keys.Take("ls\n"), "ls\n");
  EXPECT_EQ(keys.Take("a\x10"), "a");
  EXPECT_EQ(keys.Take("b"),
            "\x10"
            "b");
  EXPECT_EQ(keys.Take("\x10\x10"), "\x10");
  EXPECT_FALSE(keys.pressed());
  EXPECT_EQ(keys.Take("\x11 more"), "");
  EXPECT_TRUE(keys.pressed());
  EXPECT_EQ(keys.Take("more"), "");
}

TEST(DetachKeysTest, KeysAreReadAsDockerReadsThem) {
  for (auto [text, typed] :
       std::initializer_list<std::pair<std::string, std::string>>{{"ctrl-@", std::string(1, '\0')},
                                                                  {"ctrl-a,b",
                                                                   "\x01"
                                                                   "b"},
                                                                  {"ctrl-[", "\x1b"},
                                                                  {"ctrl-_", "\x1f"},
                                                                  {"Q", "Q"}}) {
    StatusOr<DetachKeys> keys = DetachKeys::Parse(text);
    ASSERT_TRUE(keys.ok()) << text;
    EXPECT_EQ(keys->Take("x" + typed), "x") << text;
    EXPECT_TRUE(keys->pressed()) << text;
  }
  for (const char* text : {"ctrl-", "ctrl-1", "ctrl-A", "ab", ",", "a,,b"}) {
    EXPECT_EQ(Message(DetachKeys::Parse(text).status()),
              "Invalid detach keys (" + std::string(text) + ") provided");
  }
}

}  // namespace
}  // namespace stasis
