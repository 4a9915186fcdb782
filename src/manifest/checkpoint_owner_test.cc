#include "manifest/checkpoint_owner.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace stasis {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(CheckpointOwnerTest, SaysWhatMustBeCreatedForARestore) {
  const CheckpointOwner owner = OwnerOf(std::string(R"({
    "Name": "web", "ImageId": "sha256:11", "Argv": ["serve", "-p"],
    "Config": {"Image": "busybox:latest", "User": "7", "Tty": true},
    "HostConfig": {"CapAdd": ["NET_ADMIN"], "NetworkMode": "none", "IpcMode": "private", "PidMode": "host"},
    "Mounts": [{"Type": "bind", "Source": "/a", "Destination": "/b", "RW": false},
               {"Type": "tmpfs", "Destination": "/t", "RW": true}]})"));
  EXPECT_EQ(owner.name, "web");
  EXPECT_EQ(owner.image, "busybox:latest");
  EXPECT_EQ(owner.image_id, "sha256:11");
  EXPECT_THAT(owner.options,
              ElementsAre("--tty", "--user=7", "--cap-add=NET_ADMIN", "--network=none", "--pid=host",
                          "--mount=type=bind,source=/a,target=/b,readonly", "--mount=type=tmpfs,target=/t"));
  EXPECT_THAT(owner.command, ElementsAre("serve", "-p"));
}

TEST(CheckpointOwnerTest, OfAStrangersRecordTakesWhatItCan) {
  for (const char* text :
       {"", "x", "[]", "{}", R"({"Name": 1, "Config": [], "HostConfig": 7, "Mounts": "m"})",
        R"({"Mounts": [1, null]})"}) {
    EXPECT_EQ(OwnerOf(std::string(text)).name, "") << text;
  }
  EXPECT_EQ(OwnerOf(std::string(R"({"Name": "a", "Config": 7})")).name, "a");
  EXPECT_THAT(OwnerOf(Manifest()).options, IsEmpty());
}

}  // namespace
}  // namespace stasis
