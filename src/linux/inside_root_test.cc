#include "linux/inside_root.h"

#include <sys/stat.h>
#include <unistd.h>

#include <optional>

#include "gtest/gtest.h"
#include "linux/files.h"

namespace stasis {
namespace {

class InsideRootTest : public testing::Test {
 protected:
  void SetUp() override {
    auto directory = TemporaryDirectory::Create("/tmp", "stasis-root-test-");
    ASSERT_TRUE(directory.ok());
    directory_.emplace(*std::move(directory));
    ASSERT_TRUE(MakeDirectories(Path("root/etc")).ok());
    ASSERT_TRUE(WriteFileAtomically(Path("root/etc/passwd"), "the root's own").ok());
    ASSERT_TRUE(WriteFileAtomically(Path("secret"), "outside").ok());
    auto root = OpenFile(Path("root"), O_PATH | O_DIRECTORY);
    ASSERT_TRUE(root.ok());
    root_ = *std::move(root);
  }
  std::string Path(const std::string& name) const { return directory_->path() + "/" + name; }
  void Link(const std::string& target, const std::string& name) {
    ASSERT_EQ(::symlink(target.c_str(), Path("root/" + name).c_str()), 0);
  }
  std::string Read(const std::string& path) {
    auto fd = OpenInRoot(root_.get(), path, O_RDONLY);
    return fd.ok() ? *ReadAll(fd->get()) : Message(fd.status());
  }
  std::optional<TemporaryDirectory> directory_;
  UniqueFd root_;
};

TEST_F(InsideRootTest, LinksAndDotsStayInside) {
  Link("/etc/passwd", "absolute");
  Link("../../../../../../etc/passwd", "dots");
  Link("/", "slash");
  for (const char* path : {"absolute", "/absolute", "dots", "slash/slash/etc/passwd", "../../etc/passwd"}) {
    EXPECT_EQ(Read(path), "the root's own") << path;
  }
  EXPECT_EQ(OpenInRoot(root_.get(), "../secret", O_RDONLY).status().code(), StatusCode::kNotFound);
}

TEST_F(InsideRootTest, MagicLinksAndLoopsAreRefused) {
  Link("loop", "loop");
  EXPECT_EQ(GetErrno(OpenInRoot(root_.get(), "loop", O_RDONLY).status()), ELOOP);
  auto proc = OpenFile("/proc/self", O_PATH | O_DIRECTORY);
  EXPECT_EQ(GetErrno(OpenInRoot(proc->get(), "root/etc", O_RDONLY).status()), ELOOP);
}

TEST_F(InsideRootTest, CreatesBelowTheRootOnly) {
  Link("/../../../escape", "out");
  ASSERT_TRUE(OpenInRoot(root_.get(), "out", O_WRONLY | O_CREAT, 0640).ok());
  EXPECT_TRUE(Exists(Path("root/escape")));
  EXPECT_FALSE(Exists(Path("escape")));
  EXPECT_EQ(OpenInRoot(root_.get(), std::string("a\0b", 3), O_RDONLY).status().code(),
            StatusCode::kInvalidArgument);
}

TEST_F(InsideRootTest, DirectoriesAreMadeWhereTheContainerWouldSeeThem) {
  Link("/etc", "link");
  ASSERT_TRUE(MakeDirectoriesInRoot(root_.get(), "/link/a/../b//c/", 0751, {}).ok());
  struct stat found;
  ASSERT_EQ(::stat(Path("root/etc/b/c").c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0751u);
  EXPECT_TRUE(MakeDirectoriesInRoot(root_.get(), "link/b/c", 0755, {}).ok()) << "again";
  EXPECT_TRUE(MakeDirectoriesInRoot(root_.get(), "", 0755, {}).ok()) << "the root itself";
  ASSERT_TRUE(MakeDirectoriesInRoot(root_.get(), "../../x", 0755, {}).ok());
  EXPECT_TRUE(Exists(Path("root/x")));
  EXPECT_FALSE(MakeDirectoriesInRoot(root_.get(), "etc/passwd/x", 0755, {}).ok()) << "a file is in the way";
  Link("/nowhere", "dangling");
  EXPECT_EQ(MakeDirectoriesInRoot(root_.get(), "dangling/x", 0755, {}).status().code(),
            StatusCode::kFailedPrecondition);
}

TEST_F(InsideRootTest, ManyDirectoriesAreMadeInTimeOrUntilThatIsCalledOff) {
  std::string path = "d";
  for (int i = 1; i < 2000; ++i) path += "/d";
  ASSERT_TRUE(MakeDirectoriesInRoot(root_.get(), path, 0755, {}).ok());
  EXPECT_TRUE(OpenInRoot(root_.get(), path, O_PATH | O_DIRECTORY).ok());
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(MakeDirectoriesInRoot(root_.get(), "e/f", 0755, stop.get_token()).status().code(),
            StatusCode::kCancelled);
}

TEST_F(InsideRootTest, OpenBeneathMeetsNoLink) {
  Link("etc", "link");
  EXPECT_TRUE(OpenBeneath(root_.get(), "etc/passwd", O_RDONLY).ok());
  EXPECT_EQ(GetErrno(OpenBeneath(root_.get(), "link/passwd", O_RDONLY).status()), ELOOP);
  EXPECT_EQ(GetErrno(OpenBeneath(root_.get(), "../secret", O_RDONLY).status()), EXDEV);
  EXPECT_EQ(GetErrno(OpenBeneath(root_.get(), "/etc", O_RDONLY).status()), EXDEV);
  auto slash = OpenDirectory("/");
  EXPECT_EQ(GetErrno(OpenBeneath(slash->get(), "proc", O_RDONLY).status()), EXDEV) << "another mount";
}

TEST(SplitPathTest, SplitsAtTheLastSlash) {
  EXPECT_EQ(SplitPath("a/b/c")->parent, "a/b");
  EXPECT_EQ(SplitPath("a/b/c")->name, "c");
  EXPECT_EQ(SplitPath("c")->parent, ".");
  EXPECT_EQ(SplitPath("/c")->parent, "/");
  for (const char* bad : {"", "/", "a/", "a/.", "a/..", ".."}) {
    EXPECT_EQ(SplitPath(bad).status().code(), StatusCode::kInvalidArgument) << bad;
  }
}

}  // namespace
}  // namespace stasis
