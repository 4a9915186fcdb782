#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <optional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "linux/apparent_size.h"
#include "linux/files.h"

namespace stasis {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class FileTreeTest : public testing::Test {
 protected:
  void SetUp() override {
    auto directory = TemporaryDirectory::Create("/tmp", "stasis-tree-test-");
    ASSERT_TRUE(directory.ok());
    directory_.emplace(*std::move(directory));
  }
  std::string Path(const std::string& name) const { return directory_->path() + "/" + name; }
  std::optional<TemporaryDirectory> directory_;
};

TEST_F(FileTreeTest, RemovesAllKindsWithoutFollowingLinks) {
  ASSERT_TRUE(MakeDirectories(Path("outside")).ok());
  ASSERT_TRUE(WriteFileAtomically(Path("outside/precious"), "x").ok());
  ASSERT_TRUE(MakeDirectories(Path("tree/a/b")).ok());
  ASSERT_TRUE(WriteFileAtomically(Path("tree/a/f"), "x", 0).ok());
  ASSERT_EQ(::symlink("../outside", Path("tree/link").c_str()), 0);
  ASSERT_EQ(::mkfifo(Path("tree/fifo").c_str(), 0600), 0);
  ASSERT_EQ(::chmod(Path("tree/a").c_str(), 0), 0);
  EXPECT_TRUE(RemoveTree(Path("tree/")).ok());
  EXPECT_THAT(*ListDirectory(directory_->path()), ElementsAre("outside"));
  ASSERT_EQ(::symlink("outside", Path("link").c_str()), 0);
  EXPECT_TRUE(RemoveTree(Path("link")).ok());
  EXPECT_TRUE(Exists(Path("outside/precious")));
}

TEST_F(FileTreeTest, RemovingWhatIsNotThereIsNoError) {
  EXPECT_TRUE(RemoveTree(Path("none")).ok());
  EXPECT_TRUE(RemoveTree(Path("none/below")).ok());
  EXPECT_EQ(RemoveTree(Path("..")).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(RemoveTree("/").code(), StatusCode::kInvalidArgument);
}

TEST_F(FileTreeTest, ATreeDeeperThanOurDescriptorsAndPathsIsRemoved) {
  std::string name(100, 'd');
  {
    UniqueFd at = *OpenDirectory(directory_->path());
    for (int i = 0; i < 3000; ++i) {  // 300 kB of path, three times the usual limit of descriptors
      ASSERT_EQ(::mkdirat(at.get(), name.c_str(), 0700), 0);
      at = *OpenDirectoryAt(at.get(), name);
    }
  }
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit few = {200, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  Status status = RemoveTree(Path(name));
  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_TRUE(status.ok()) << Message(status).substr(0, 200);
  EXPECT_THAT(*ListDirectory(directory_->path()), IsEmpty());
}

TEST_F(FileTreeTest, AMountInTheTreeStopsTheRemovalAndIsNotTouched) {
  ASSERT_TRUE(MakeDirectories(Path("tree/a/mnt")).ok());
  ASSERT_TRUE(MakeDirectories(Path("source")).ok());
  ASSERT_TRUE(WriteFileAtomically(Path("source/precious"), "x").ok());
  // A bind mount of the same file system: its device number does not give it away.
  if (::mount(Path("source").c_str(), Path("tree/a/mnt").c_str(), nullptr, MS_BIND, nullptr) != 0) {
    GTEST_SKIP() << "cannot mount";
  }
  Status status = RemoveTree(Path("tree"));
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(Message(status), HasSubstr("mnt"));
  EXPECT_TRUE(Exists(Path("source/precious")));
  ASSERT_EQ(::umount2(Path("tree/a/mnt").c_str(), 0), 0);
  EXPECT_TRUE(RemoveTree(Path("tree")).ok());
}

TEST_F(FileTreeTest, SyncsATreeWithLinksAndPipes) {
  ASSERT_TRUE(MakeDirectories(Path("tree/a")).ok());
  ASSERT_TRUE(WriteFileAtomically(Path("tree/a/f"), "x").ok());
  ASSERT_EQ(::symlink("/nonexistent", Path("tree/link").c_str()), 0);
  ASSERT_EQ(::mkfifo(Path("tree/fifo").c_str(), 0600), 0);
  EXPECT_TRUE(SyncTree(Path("tree")).ok());
  EXPECT_TRUE(SyncTree(Path("tree/a/f")).ok());
  EXPECT_EQ(SyncTree(Path("none")).code(), StatusCode::kNotFound);
}

TEST_F(FileTreeTest, DiskUsageCountsHardLinksOnceAndHolesNot) {
  ASSERT_TRUE(MakeDirectories(Path("tree/a")).ok());
  uint64_t empty = *DiskUsage(Path("tree"));
  ASSERT_TRUE(WriteFileDurably(Path("tree/a/f"), std::string(1 << 20, 'x')).ok());
  uint64_t one = *DiskUsage(Path("tree"));
  EXPECT_GE(one - empty, 1u << 20);
  EXPECT_LT(one - empty, (1u << 20) + 65536);
  ASSERT_EQ(::link(Path("tree/a/f").c_str(), Path("tree/g").c_str()), 0);
  ASSERT_TRUE(WriteFileDurably(Path("tree/hole"), "").ok());
  ASSERT_EQ(::truncate(Path("tree/hole").c_str(), 1 << 30), 0);
  EXPECT_LT(*DiskUsage(Path("tree")), one + 65536);
  EXPECT_GE(*DiskUsage(Path("tree/g")), 1u << 20);
  EXPECT_EQ(DiskUsage(Path("none")).status().code(), StatusCode::kNotFound);
}

TEST_F(FileTreeTest, ApparentSizeIsThatOfTheFilesAlone) {
  ASSERT_TRUE(MakeDirectories(Path("tree/a/b")).ok());
  EXPECT_EQ(*ApparentSize(Path("tree")), 0u);
  ASSERT_TRUE(WriteFileAtomically(Path("tree/a/f"), "123").ok());
  ASSERT_EQ(::link(Path("tree/a/f").c_str(), Path("tree/g").c_str()), 0);
  ASSERT_TRUE(WriteFileAtomically(Path("tree/hole"), "").ok());
  ASSERT_EQ(::truncate(Path("tree/hole").c_str(), 1 << 20), 0);
  ASSERT_EQ(::symlink("four", Path("tree/link").c_str()), 0);
  EXPECT_EQ(*ApparentSize(Path("tree")), 3u + (1 << 20) + 4);
  EXPECT_EQ(ApparentSize(Path("none")).status().code(), StatusCode::kNotFound);
}

}  // namespace
}  // namespace stasis
