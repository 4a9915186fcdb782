#include "linux/files.h"
#include "linux/regular_file.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <optional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "linux/proc.h"
#include "linux/subprocess.h"

namespace stasis {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// A small file system of its own, so that "disk full" is real.
class SmallDisk {
 public:
  explicit SmallDisk(const std::string& path, const char* options) : path_(path) {
    mounted_ = ::mount("none", path.c_str(), "tmpfs", 0, options) == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }

 private:
  std::string path_;
  bool mounted_;
};

class FilesTest : public testing::Test {
 protected:
  void SetUp() override {
    auto directory = TemporaryDirectory::Create("/tmp", "stasis-files-test-");
    ASSERT_TRUE(directory.ok());
    directory_.emplace(*std::move(directory));
  }
  std::string Path(const std::string& name) const { return directory_->path() + "/" + name; }
  std::optional<TemporaryDirectory> directory_;
};

TEST_F(FilesTest, ReadsWhatWasWrittenAndRefusesMoreThanTheLimit) {
  ASSERT_TRUE(WriteFileDurably(Path("f"), "12345").ok());
  EXPECT_EQ(*ReadFile(Path("f")), "12345");
  EXPECT_EQ(*ReadFile(Path("f"), 5), "12345");
  EXPECT_EQ(ReadFile(Path("f"), 4).status().code(), StatusCode::kOutOfRange);
  EXPECT_EQ(ReadFile(Path("none")).status().code(), StatusCode::kNotFound);
  EXPECT_FALSE(ReadFile("/proc/self/status")->empty());
}

TEST_F(FilesTest, AFifoInPlaceOfAFileHoldsNobodyUp) {
  ASSERT_EQ(::mkfifo(Path("fifo").c_str(), 0600), 0);
  ASSERT_TRUE(WriteFileDurably(Path("f"), "12345").ok());
  ASSERT_EQ(::symlink("f", Path("link").c_str()), 0);
  ASSERT_EQ(::symlink("fifo", Path("to_fifo").c_str()), 0);
  for (const std::string& other :
       {Path("fifo"), Path("to_fifo"), directory_->path(), std::string("/dev/zero")}) {
    const Status refused = ReadFile(other).status();
    EXPECT_EQ(refused.code(), StatusCode::kFailedPrecondition) << other;
    EXPECT_EQ(Message(refused), "open " + other + ": it is not a regular file");
    for (const int flags : {O_RDONLY, O_WRONLY | O_CREAT | O_APPEND, O_RDWR | O_CREAT}) {
      EXPECT_FALSE(OpenRegularFile(other, flags, 0600).ok()) << other << " " << flags;
    }
  }
  EXPECT_EQ(*ReadFile(Path("link")), "12345");
  EXPECT_FALSE(OpenRegularFile(Path("link"), O_RDONLY).ok());
  EXPECT_TRUE(OpenRegularFile(Path("f"), O_RDWR).ok());
  EXPECT_TRUE(OpenRegularFile(Path("new"), O_WRONLY | O_CREAT, 0600).ok());
}

TEST_F(FilesTest, WritingReplacesTheWholeFileWithTheExactMode) {
  mode_t umask_before = ::umask(077);
  ASSERT_TRUE(WriteFileDurably(Path("f"), std::string(100000, 'x')).ok());
  ASSERT_TRUE(WriteFileAtomically(Path("f"), "short", 0644).ok());
  ::umask(umask_before);
  EXPECT_EQ(*ReadFile(Path("f")), "short");
  struct stat found;
  ASSERT_EQ(::stat(Path("f").c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0644u);
  EXPECT_THAT(*ListDirectory(directory_->path()), ElementsAre("f"));
}

TEST_F(FilesTest, ALinkInTheWayIsReplacedAndNotFollowed) {
  ASSERT_TRUE(WriteFileDurably(Path("victim"), "precious").ok());
  ASSERT_EQ(::symlink("victim", Path("f").c_str()), 0);
  ASSERT_TRUE(WriteFileDurably(Path("f"), "new").ok());
  EXPECT_EQ(*ReadFile(Path("victim")), "precious");
}

TEST_F(FilesTest, AFullDiskLeavesTheOldFileAndNothingElse) {
  SmallDisk disk(directory_->path(), "size=64k");
  if (!disk.mounted()) GTEST_SKIP() << "cannot mount tmpfs";
  ASSERT_TRUE(WriteFileDurably(Path("f"), "old").ok());
  Status status = WriteFileDurably(Path("f"), std::string(1 << 20, 'x'));
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(GetErrno(status), ENOSPC);
  EXPECT_EQ(*ReadFile(Path("f")), "old");
  EXPECT_THAT(*ListDirectory(directory_->path()), ElementsAre("f"));
}

TEST_F(FilesTest, ADiskWithoutInodesLeavesNothing) {
  SmallDisk disk(directory_->path(), "nr_inodes=1");
  if (!disk.mounted()) GTEST_SKIP() << "cannot mount tmpfs";
  EXPECT_EQ(GetErrno(WriteFileDurably(Path("f"), "x")), ENOSPC);
  EXPECT_THAT(*ListDirectory(directory_->path()), IsEmpty());
}

TEST_F(FilesTest, ADirectoryInTheWayLeavesNothingAside) {
  ASSERT_TRUE(MakeDirectories(Path("f/g")).ok());
  EXPECT_FALSE(WriteFileDurably(Path("f"), "x").ok());
  EXPECT_THAT(*ListDirectory(directory_->path()), ElementsAre("f"));
}

TEST_F(FilesTest, WritingIntoTheMemoryOfAnEndedProcessIsAnError) {
  auto child = Spawn({.argv = {"/bin/sleep", "1000"}});
  ASSERT_TRUE(child.ok()) << child.status();
  auto memory = OpenFile(ProcPath(child->process().pid(), "mem"), O_WRONLY);
  if (!memory.ok()) GTEST_SKIP() << memory.status();
  child->Kill();
  EXPECT_FALSE(WriteAllAt(memory->get(), "x", 4096).ok()) << "and it does not try for ever";
}

TEST_F(FilesTest, ControlFilesMustExist) {
  EXPECT_EQ(WriteControlFile(Path("none"), "1").code(), StatusCode::kNotFound);
  EXPECT_FALSE(Exists(Path("none")));
}

TEST_F(FilesTest, PublishingNeverReplaces) {
  auto directory = *OpenDirectory(directory_->path());
  ASSERT_TRUE(MakeDirectories(Path("aside/data")).ok());
  ASSERT_TRUE(PublishByRename(directory.get(), "aside", directory.get(), "cp1").ok());
  EXPECT_TRUE(Exists(Path("cp1/data")));
  ASSERT_TRUE(MakeDirectories(Path("aside")).ok());
  EXPECT_EQ(PublishByRename(directory.get(), "aside", directory.get(), "cp1").code(),
            StatusCode::kAlreadyExists);
  EXPECT_THAT(*ListDirectory(directory_->path()), ElementsAre("aside", "cp1"));
}

TEST_F(FilesTest, DirectoriesAreMadeOnceAndFilesAreNotTakenForThem) {
  EXPECT_TRUE(MakeDirectories(Path("a/b/c"), 0711).ok());
  EXPECT_TRUE(MakeDirectories(Path("a/b/c/"), 0711).ok());
  struct stat found;
  ASSERT_EQ(::stat(Path("a/b").c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0711u);
  ASSERT_TRUE(WriteFileAtomically(Path("f"), "").ok());
  EXPECT_FALSE(MakeDirectories(Path("f")).ok());
  EXPECT_FALSE(MakeDirectories(Path("f/g")).ok());
}

TEST_F(FilesTest, ListsEveryNameSorted) {
  for (const char* name : {"b", ".hidden", "a"}) ASSERT_TRUE(WriteFileAtomically(Path(name), "").ok());
  auto directory = *OpenDirectory(directory_->path());
  EXPECT_THAT(*ListDirectory(directory.get()), ElementsAre(".hidden", "a", "b"));
  EXPECT_THAT(*ListDirectory(directory.get()), ElementsAre(".hidden", "a", "b")) << "again, from the start";
  EXPECT_EQ(ListDirectory(Path("none")).status().code(), StatusCode::kNotFound);
}

TEST_F(FilesTest, TemporaryDirectoriesGoUnlessReleased) {
  std::string gone, kept;
  {
    auto first = *TemporaryDirectory::Create(directory_->path(), "t-");
    auto second = *TemporaryDirectory::Create(directory_->path(), "t-");
    gone = first.path();
    ASSERT_TRUE(WriteFileAtomically(gone + "/f", "x").ok());
    kept = TemporaryDirectory(std::move(second)).Release();
  }
  EXPECT_FALSE(Exists(gone));
  EXPECT_TRUE(Exists(kept));
}

}  // namespace
}  // namespace stasis
