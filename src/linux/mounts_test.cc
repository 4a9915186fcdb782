#include "linux/mounts.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "gtest/gtest.h"
#include "linux/files.h"

namespace stasis {
namespace {

TEST(ParseMountsTest, ReadsLinesWithAnyNumberOfOptionalFields) {
  auto mounts = ParseMounts(
      "26 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n"
      "41 26 254:0 /run/netns /run/netns rw,relatime shared:1 master:2 - ext4 /dev/vda rw\n"
      "90 26 0:4 net:[4026532200] /run/a\\040b\\134c rw - nsfs nsfs rw\n"
      "91 26 0:50 / /mnt rw - tmpfs  rw\n"
      "92 26 0:51 / /m rw - overlay overlay rw,lowerdir=/l/a\\040b:/l/c,upperdir=/u,workdir=/w\n");
  ASSERT_TRUE(mounts.ok()) << mounts.status();
  ASSERT_EQ(mounts->size(), 5u);
  EXPECT_EQ((*mounts)[0].id, 26);
  EXPECT_EQ((*mounts)[0].parent_id, 1);
  EXPECT_EQ((*mounts)[0].device, "254:0");
  EXPECT_EQ((*mounts)[0].mount_point, "/");
  EXPECT_EQ((*mounts)[0].super_options, "rw,discard");
  EXPECT_EQ((*mounts)[1].root, "/run/netns");
  EXPECT_EQ((*mounts)[1].type, "ext4");
  EXPECT_EQ((*mounts)[2].mount_point, "/run/a b\\c");
  EXPECT_EQ((*mounts)[2].root, "net:[4026532200]");
  EXPECT_EQ((*mounts)[3].source, "") << "an empty source";
  EXPECT_EQ((*mounts)[4].super_options, "rw,lowerdir=/l/a b:/l/c,upperdir=/u,workdir=/w");
}

TEST(ParseMountsTest, RefusesWhatIsNoMountinfo) {
  for (const char* bad : {"\n", "x", "26 1 254:0 / / rw,relatime", "26 1 254:0 / / rw - ext4",
                          "x 1 0:1 / / rw - a b c", "1 2 3 4 - 5 6 7"}) {
    EXPECT_FALSE(ParseMounts(bad).ok()) << bad;
  }
  EXPECT_TRUE(ParseMounts("")->empty());
}

class RootMountTest : public testing::Test {
 protected:
  void SetUp() override {
    auto directory = TemporaryDirectory::Create("/tmp", "stasis mount-test-");  // a name that is escaped
    ASSERT_TRUE(directory.ok());
    directory_.emplace(*std::move(directory));
    ASSERT_TRUE(MakeDirectories(Path("a")).ok());
    Status status = Mount("none", Path("a"), "tmpfs", MS_NOSUID, "size=1m");
    if (!status.ok()) GTEST_SKIP() << status;
  }
  void TearDown() override {
    EXPECT_TRUE(UnmountBelow(directory_->path()).ok());
    EXPECT_TRUE(Points().empty());
  }
  // Those below our directory: others mount and unmount beside us.
  std::vector<std::string> Points() const {
    std::vector<std::string> points;
    auto mounts = *ReadMounts();
    for (const MountEntry& entry : mounts) {
      if (entry.mount_point.starts_with(directory_->path())) points.push_back(entry.mount_point);
    }
    return points;
  }
  std::string Path(const std::string& name) const { return directory_->path() + "/" + name; }
  std::optional<TemporaryDirectory> directory_;
};

TEST_F(RootMountTest, WhatIsMountedIsSeen) {
  auto mounts = *ReadMounts();
  auto found =
      std::find_if(mounts.begin(), mounts.end(), [&](auto& entry) { return entry.mount_point == Path("a"); });
  ASSERT_NE(found, mounts.end());
  EXPECT_EQ(found->type, "tmpfs");
  EXPECT_NE(found->options.find("nosuid"), std::string::npos);
  EXPECT_NE(found->super_options.find("size=1024k"), std::string::npos);
}

TEST_F(RootMountTest, UnmountingTwiceIsNoError) {
  EXPECT_TRUE(Unmount(Path("a"), false).ok());
  EXPECT_TRUE(Unmount(Path("a"), false).ok());
  EXPECT_TRUE(Unmount(Path("none"), true).ok());
}

TEST_F(RootMountTest, ABusyMountGoesOnlyDetached) {
  auto held = OpenFile(Path("a/f"), O_RDWR | O_CREAT, 0600);
  ASSERT_TRUE(held.ok());
  EXPECT_EQ(Unmount(Path("a"), false).code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(Unmount(Path("a"), true).ok());
  EXPECT_FALSE(Exists(Path("a/f")));
}

TEST_F(RootMountTest, UnmountBelowTakesNestedAndStackedMountsAndNoOthers) {
  ASSERT_TRUE(MakeDirectories(Path("a/b")).ok());
  ASSERT_TRUE(Mount("none", Path("a/b"), "tmpfs", 0, "").ok());
  ASSERT_TRUE(Mount("none", Path("a/b"), "tmpfs", 0, "").ok());
  ASSERT_TRUE(MakeDirectories(Path("ab")).ok());
  ASSERT_TRUE(Mount("none", Path("ab"), "tmpfs", 0, "").ok());
  ASSERT_EQ(::symlink("a", Path("link").c_str()), 0);
  ASSERT_TRUE(UnmountBelow(Path("link")).ok());
  EXPECT_EQ(Points(), std::vector<std::string>{Path("ab")}) << "the neighbour whose name begins the same";
  EXPECT_TRUE(UnmountBelow(Path("none")).ok());
}

TEST_F(RootMountTest, ErrorsNameTypeAndTarget) {
  Status status = Mount("none", Path("none"), "tmpfs", 0, "");
  EXPECT_EQ(Message(status), "mount tmpfs on " + Path("none") + ": No such file or directory");
}

}  // namespace
}  // namespace stasis
