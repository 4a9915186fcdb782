#include "engine/restore_check.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace stasis::engine {
namespace {

using testing::EndsWith;

ContainerRecord Record(const std::string& name) {
  return {.id = *ContainerId::Parse(std::string(64, 'a')), .name = name};
}

TEST(RestoreCheckTest, WhatCriuDoesNotBringIsNotTheSameOptions) {
  ContainerRecord saved = Record("web");
  saved.argv = {"sleep", "1"};
  saved.host_config.cap_add = {"NET_ADMIN", "SYS_TIME"};
  ContainerRecord target = Record("other");
  target.host_config.cap_add = {"SYS_TIME", "NET_ADMIN"};
  target.host_config.network_mode = "none";  // an own namespace, like the default
  target.config.labels = {{"a", "b"}};
  EXPECT_TRUE(CheckSameOptions(saved, target).ok()) << CheckSameOptions(saved, target);
}

TEST(RestoreCheckTest, EveryDifferenceIsNamed) {
  ContainerRecord saved = Record("web");
  ContainerRecord target = Record("other");
  target.mounts.push_back({.type = "bind", .source = "/s", .destination = "/data"});
  target.config.tty = true;
  target.config.user = "nobody";
  target.host_config.readonly_rootfs = true;
  target.host_config.privileged = true;
  target.host_config.cap_drop = {"ALL"};
  target.host_config.security_opt = {"no-new-privileges"};
  target.host_config.network_mode = "host";
  target.host_config.ipc_mode = "host";
  const Status status = CheckSameOptions(saved, target);
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(Message(status),
              EndsWith(": the mount /data (bind), --tty, --user, --read-only, --privileged, --cap-drop, "
                       "--security-opt, --network, --ipc"));
  EXPECT_FALSE(CheckSameOptions(target, saved).ok());
}

TEST(RestoreCheckTest, AMountThatIsReadOnlyIsAnother) {
  ContainerRecord saved = Record("web");
  saved.mounts.push_back({.type = "bind", .source = "/s", .destination = "/data"});
  ContainerRecord target = saved;
  EXPECT_TRUE(CheckSameOptions(saved, target).ok());
  target.mounts[0].source = "/elsewhere";  // the same files may lie elsewhere on another machine
  EXPECT_TRUE(CheckSameOptions(saved, target).ok());
  target.mounts[0].read_write = false;
  EXPECT_FALSE(CheckSameOptions(saved, target).ok());
}

}  // namespace
}  // namespace stasis::engine
