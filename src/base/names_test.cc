#include "base/names.h"

#include "gtest/gtest.h"

namespace stasis {
namespace {

TEST(NamesTest, CheckpointNamesAreDockersPattern) {
  for (const char* good : {"cp1", "a-", "0.x", "A_b.c-d"})
    EXPECT_TRUE(CheckpointName::Parse(good).ok()) << good;
  for (const char* bad : {"", "a", ".", "..", ".x", "-x", "a/b", "../x", "a b", "a\n", "caf\xc3\xa9"}) {
    EXPECT_FALSE(CheckpointName::Parse(bad).ok()) << bad;
  }
  EXPECT_FALSE(CheckpointName::Parse(std::string(256, 'a')).ok());
  EXPECT_FALSE(CheckpointName::Parse(std::string_view("ab\0c", 4)).ok());
}

TEST(NamesTest, RefusalsReadAsDockers) {
  EXPECT_EQ(Message(CheckpointName::Parse("a/b").status()),
            "Invalid checkpoint ID (a/b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed");
  EXPECT_EQ(Message(ContainerName::Parse("-").status()),
            "Invalid container name (-), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed");
  EXPECT_EQ(Message(CheckpointName::Parse("a").status()),
            "Invalid checkpoint ID (a), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, and at least two "
            "characters are "
            "needed");
}

TEST(NamesTest, DigestsAreSha256) {
  std::string hex(64, 'a');
  auto digest = Digest::Parse("sha256:" + hex);
  ASSERT_TRUE(digest.ok());
  EXPECT_EQ(Hex(*digest), hex);
  EXPECT_FALSE(Digest::Parse("sha512:" + hex).ok());
  EXPECT_FALSE(Digest::Parse("sha256:" + std::string(64, 'A')).ok());
  EXPECT_FALSE(Digest::Parse("sha256:../../etc/passwd").ok());
}

}  // namespace
}  // namespace stasis
