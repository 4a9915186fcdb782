#include "engine/mount_request.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace stasis::engine {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::Not;

TEST(ParseBindTest, OptionsBecomeMountOptions) {
  const auto mount = ParseBind("/src/../data/:/in//side:ro,z,rslave", {});
  ASSERT_TRUE(mount.ok()) << mount.status();
  EXPECT_EQ(mount->source, "/data");
  EXPECT_EQ(mount->destination, "/in/side");
  EXPECT_FALSE(mount->read_write);
  EXPECT_THAT(mount->options, ElementsAre("rbind", "ro", "rslave"));
  EXPECT_TRUE(mount->create_source);
}

TEST(ParseBindTest, WrongOnesAreRefusedWithDockersWords) {
  EXPECT_EQ(Message(ParseBind("/a", {}).status()), "invalid volume specification: '/a'");
  EXPECT_EQ(Message(ParseBind("/a:/b:fast", {}).status()), "invalid mode: fast");
  EXPECT_EQ(Message(ParseBind("/a:b", {}).status()),
            "invalid volume specification: '/a:b': invalid mount path: 'b' mount path must be absolute");
  EXPECT_FALSE(ParseBind("/a:/", {}).ok());
  EXPECT_FALSE(ParseBind("/a:/x/..", {}).ok());
  EXPECT_FALSE(ParseBind(":/b", {}).ok());
  EXPECT_FALSE(ParseBind("/a:/b:ro:rw", {}).ok());
  EXPECT_EQ(ParseBind("data:/b", {}).status().code(), StatusCode::kUnimplemented);
}

TEST(SettleMountTest, ABindNeedsItsSource) {
  backend::MountRequest request;
  request.type = "bind";
  request.source = "/no/such/place";
  request.target = "/inside";
  EXPECT_EQ(Message(SettleMount(request, {}).status()),
            "invalid mount config for type \"bind\": bind source path does not exist: /no/such/place");
  request.source = "/tmp";
  EXPECT_TRUE(SettleMount(request, {}).ok());
  request.type = "cloud";
  EXPECT_FALSE(SettleMount(request, {}).ok());
}

TEST(ParseBindTest, AReadOnlyOneIsSoWithAllBelowWhereTheKernelCan) {
  const MountRules rules{.recursive_read_only = true};
  EXPECT_THAT(ParseBind("/a:/b:ro", rules)->options, ElementsAre("rbind", "rro", "rprivate"));
  EXPECT_THAT(ParseBind("/a:/b", rules)->options, ElementsAre("rbind", "rw", "rprivate"));
}

TEST(SettleMountTest, BindOptionsDecideWhatOfItIsBoundAndReadOnly) {
  const MountRules rules{.recursive_read_only = true};
  backend::MountRequest request;
  request.type = "bind";
  request.source = "/tmp";
  request.target = "/inside";
  request.read_only = true;
  EXPECT_THAT(SettleMount(request, rules)->options, ElementsAre("rbind", "rro", "rprivate"));
  request.non_recursive = true;
  request.read_only_non_recursive = true;
  EXPECT_THAT(SettleMount(request, rules)->options, ElementsAre("bind", "ro", "rprivate"));
  request.read_only_force_recursive = true;
  EXPECT_EQ(Message(SettleMount(request, rules).status()),
            "mount options conflict: ReadOnlyNonRecursive && ReadOnlyForceRecursive");
  request.read_only_non_recursive = false;
  EXPECT_TRUE(SettleMount(request, rules).ok());
  EXPECT_EQ(SettleMount(request, {}).status().code(), StatusCode::kInvalidArgument);
}

TEST(ParseBindTest, WhatHoldsTheEnginesRootFollowsItsMounts) {
  const MountRules rules{.engine_root = "/tmp/stasis-root"};
  EXPECT_EQ(ParseBind("/tmp/stasis-root/images:/b", rules)->propagation, "rslave");
  EXPECT_EQ(ParseBind("/:/b", rules)->propagation, "rslave");
  EXPECT_EQ(ParseBind("/tmp:/b:rshared", rules)->propagation, "rshared");
  EXPECT_EQ(ParseBind("/tmp/stasis-root2:/b", rules)->propagation, "rprivate");
  EXPECT_THAT(Message(ParseBind("/tmp:/b:rprivate", rules).status()),
              testing::HasSubstr("must use either propagation mode \"rslave\" or \"rshared\""));
}

TEST(CheckpointObstaclesTest, ABindThatTakesTheEnginesMountsAlongIsNamed) {
  const MountRules rules{.container_roots = "/tmp/stasis-root/images/roots",
                         .network_namespaces = "/tmp/stasis-state/netns"};
  const auto obstacles = [&](const std::string& bind) {
    return CheckpointObstacles({*ParseBind(bind, {})}, rules);
  };
  EXPECT_THAT(
      obstacles("/:/host"),
      ElementsAre("The bind of / at /host takes along the network namespaces that the engine has pinned "
                  "in /tmp/stasis-state/netns: the container cannot be checkpointed"));
  EXPECT_THAT(obstacles("/tmp/stasis-state:/s"), testing::SizeIs(1));
  EXPECT_THAT(
      obstacles("/tmp/stasis-root:/r"),
      ElementsAre("The bind of /tmp/stasis-root at /r takes along the roots of other containers in "
                  "/tmp/stasis-root/images/roots: with any of them the container cannot be checkpointed, "
                  "since a restore could not mount them again"));
  EXPECT_THAT(obstacles("/tmp/stasis-root/containers:/c"), testing::IsEmpty());
  EXPECT_THAT(obstacles("/tmp/stasis-root2:/c"), testing::IsEmpty());
  backend::MountRequest request;
  request.type = "bind";
  request.source = "/";
  request.target = "/host";
  request.non_recursive = true;
  EXPECT_THAT(CheckpointObstacles({*SettleMount(request, {})}, rules), testing::IsEmpty());
}

TEST(SettleMountTest, ATmpfsGetsItsSizeAndMode) {
  backend::MountRequest request;
  request.type = "tmpfs";
  request.target = "/scratch";
  request.tmpfs_size = 1048576;
  request.tmpfs_mode = 01777;
  request.tmpfs_options = {{"exec"}, {"uid", "7"}};
  const auto mount = SettleMount(request, {});
  ASSERT_TRUE(mount.ok()) << mount.status();
  EXPECT_THAT(mount->options,
              ElementsAre("nosuid", "nodev", "rw", "size=1048576", "mode=1777", "exec", "uid=7"));
}

TEST(ParseTmpfsTest, TheUsersWordWinsOverOurs) {
  const auto mount = ParseTmpfs("/scratch", "exec,size=64m");
  ASSERT_TRUE(mount.ok());
  EXPECT_THAT(mount->options, Contains("exec"));
  EXPECT_THAT(mount->options, Not(Contains("noexec")));
  EXPECT_TRUE(ParseTmpfs("/scratch", "shared").ok());
  EXPECT_FALSE(ParseTmpfs("/scratch", "lowerdir=/etc").ok());
}

TEST(SettleMountsTest, ParentsComeFirstAndNoneTwice) {
  backend::HostConfig host_config;
  host_config.binds = {"/a:/x/y/z", "/b:/x"};
  host_config.tmpfs = {{"/x/y", ""}};
  const auto mounts = SettleMounts(host_config, {});
  ASSERT_TRUE(mounts.ok());
  EXPECT_EQ((*mounts)[0].destination, "/x");
  EXPECT_EQ((*mounts)[1].destination, "/x/y");
  EXPECT_EQ((*mounts)[2].destination, "/x/y/z");
  host_config.tmpfs["/x"] = "";
  EXPECT_EQ(Message(SettleMounts(host_config, {}).status()), "Duplicate mount point: /x");
}

}  // namespace
}  // namespace stasis::engine
