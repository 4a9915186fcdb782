#include "supervisor/shim_cgroup.h"

#include <gtest/gtest.h>

namespace stasis::supervisor {
namespace {

MountEntry Mount(const std::string& point, const std::string& type, const std::string& options) {
  MountEntry mount;
  mount.mount_point = point;
  mount.type = type;
  mount.super_options = options;
  return mount;
}

using Strings = std::vector<std::string>;

TEST(ShimCgroupTest, OnV2TheServicesGroupIsLeft) {
  auto mounts = {Mount("/", "ext4", "rw"), Mount("/sys/fs/cgroup", "cgroup2", "rw")};
  EXPECT_EQ(HierarchiesToLeave("0::/system.slice/stasis.service\n", mounts), Strings{"/sys/fs/cgroup"});
  EXPECT_EQ(HierarchiesToLeave("0::/\n", mounts), Strings());
  EXPECT_EQ(HierarchiesToLeave("0::/stasis-shims\n", mounts), Strings());
}

TEST(ShimCgroupTest, OnV1OnlyTheServiceManagersOwnHierarchyIsLeft) {
  auto mounts = {Mount("/sys/fs/cgroup/memory", "cgroup", "rw,memory"),
                 Mount("/sys/fs/cgroup/systemd", "cgroup", "rw,xattr,name=systemd"),
                 Mount("/sys/fs/cgroup/unified", "cgroup2", "rw")};
  EXPECT_EQ(HierarchiesToLeave("3:memory:/user\n1:name=systemd:/a.service\n0::/a.service\ngarbage\n", mounts),
            (Strings{"/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"}));
}

}  // namespace
}  // namespace stasis::supervisor
