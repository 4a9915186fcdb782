#include "oci/user.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace stasis::oci {
namespace {

using ::testing::ElementsAre;

constexpr char kPasswd[] =
    "root:x:0:0:root:/root:/bin/sh\n"
    "broken line\n"
    "redis:x:101:102::/var/lib/redis:/bin/false\n"
    "33:x:500:501::/home/33:\n"
    "www-data:x:33:33:www:/var/www:/sbin/nologin";
constexpr char kGroup[] =
    "root:x:0:\nadm:x:4:redis,www-data\nredis:x:102:\nlogs:x:9:redis\nlogs2:x:4:redis\n";

User Resolve(const char* spec) {
  StatusOr<User> user = ResolveUser(spec, kPasswd, kGroup);
  EXPECT_TRUE(user.ok()) << spec << ": " << Message(user.status());
  return user.ok() ? *user : User();
}

std::string Refusal(const char* spec) {
  StatusOr<User> user = ResolveUser(spec, kPasswd, kGroup);
  EXPECT_FALSE(user.ok()) << spec;
  return Message(user.status());
}

TEST(ResolveUserTest, NamesBringTheirGroupsAndHome) {
  User user = Resolve("redis");
  EXPECT_EQ(user.uid, 101u);
  EXPECT_EQ(user.gid, 102u);
  EXPECT_EQ(user.home, "/var/lib/redis");
  EXPECT_THAT(user.additional_gids, ElementsAre(102, 4, 9));
}

TEST(ResolveUserTest, NothingIsRoot) {
  EXPECT_EQ(Resolve("").home, "/root");
  EXPECT_EQ(Resolve("").uid, 0u);
  StatusOr<User> bare = ResolveUser("", "", "");
  ASSERT_TRUE(bare.ok());
  EXPECT_EQ(bare->home, "/");
  EXPECT_THAT(bare->additional_gids, ElementsAre(0));
}

TEST(ResolveUserTest, NumbersAreIdsEvenWhereANameLooksLikeOne) {
  EXPECT_EQ(Resolve("33").home, "/var/www");
  User stranger = Resolve("1234");
  EXPECT_EQ(stranger.uid, 1234u);
  EXPECT_EQ(stranger.gid, 0u);
  EXPECT_EQ(Resolve("1234:5678").gid, 5678u);
}

TEST(ResolveUserTest, AnExplicitGroupIsTheOnlyOne) {
  User user = Resolve("redis:adm");
  EXPECT_EQ(user.gid, 4u);
  EXPECT_THAT(user.additional_gids, ElementsAre(4));
}

// A container writes its own /etc/group.
TEST(ResolveUserTest, AsManyGroupsAsTheKernelTakesAndEachOnce) {
  std::string group;
  for (int i = 1; i < 65536; ++i) {
    for (int twice = 0; twice < 2; ++twice) group += "g:x:" + std::to_string(i) + ":u\n";
  }
  StatusOr<User> user = ResolveUser("u", "u:x:1000:0::/:", group);
  ASSERT_TRUE(user.ok()) << Message(user.status());
  EXPECT_EQ(user->additional_gids.size(), 65536u);
  user = ResolveUser("u", "u:x:1000:0::/:", group + "one:x:100000:u\n");
  EXPECT_EQ(Message(user.status()), "user u: too many groups");
}

TEST(ResolveUserTest, WhatIsNotThereIsNamed) {
  EXPECT_EQ(Refusal("nobody"), "unable to find user nobody: no matching entries in passwd file");
  EXPECT_EQ(Refusal("root:wheel"), "unable to find group wheel: no matching entries in group file");
  EXPECT_EQ(Refusal("4294967295"), "uids and gids must be in range 0-2147483647");
  EXPECT_EQ(Refusal("0:2147483648"), "uids and gids must be in range 0-2147483647");
  EXPECT_EQ(Refusal("-1"), "uids and gids must be in range 0-2147483647");
  EXPECT_EQ(Refusal("0:-1"), "uids and gids must be in range 0-2147483647");
  EXPECT_EQ(Refusal("-x"), "unable to find user -x: no matching entries in passwd file");
}

TEST(ResolveGroupTest, NamesAndNumbers) {
  EXPECT_EQ(*ResolveGroup("logs", kGroup), 9u);
  EXPECT_EQ(*ResolveGroup("77", kGroup), 77u);
  EXPECT_FALSE(ResolveGroup("none", kGroup).ok());
}

}  // namespace
}  // namespace stasis::oci
