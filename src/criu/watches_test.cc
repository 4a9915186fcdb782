#include "criu/watches.h"

#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "linux/files.h"

namespace stasis::criu {
namespace {

TEST(WatchesTest, ReadsTheLinesOfInotifyAndFanotify) {
  auto watches = ParseWatches(
      "pos:\t0\nflags:\t00\nmnt_id:\t17\nino:\t26\n"
      "inotify wd:2 ino:108080 sdev:26 mask:100 ignored_mask:0 fhandle-bytes:20 fhandle-type:f8 f_handle:00\n"
      "fanotify flags:10 event-flags:0\n"
      "fanotify ino:4f969 sdev:800013 mflags:0 mask:3b ignored_mask:40000000 fhandle-bytes:8\n"
      "inotify wd:x ino: sdev:\ninotify\n");
  ASSERT_EQ(watches.size(), 2u);
  EXPECT_EQ(watches[0], (Watch{0x26, 0x108080}));
  EXPECT_EQ(watches[1], (Watch{0x800013, 0x4f969}));
}

TEST(WatchesTest, FindsTheDirectoryThatIsWatched) {
  auto temporary = TemporaryDirectory::Create("/tmp", "watches-");
  ASSERT_TRUE(temporary.ok()) << temporary.status();
  std::string watched = temporary->path() + "/deep/inside";
  ASSERT_TRUE(MakeDirectories(watched).ok());
  UniqueFd inotify(::inotify_init1(IN_CLOEXEC));
  ASSERT_GE(::inotify_add_watch(inotify.get(), watched.c_str(), IN_CREATE), 0);

  auto tree = ReadProcessTree(::getpid());
  ASSERT_TRUE(tree.ok()) << tree.status();
  auto watches = ReadWatches(*tree);
  ASSERT_EQ(watches.size(), 1u);
  // An open descriptor of it spares the walk.
  auto opened = OpenDirectory(watched);
  ASSERT_TRUE(opened.ok());
  auto paths = FindWatchedPaths(*tree, watches, After(std::chrono::seconds(0)), {});
  ASSERT_EQ(paths.size(), 1u);
  EXPECT_EQ(paths[0].path, watched);
  opened->reset();
  paths = FindWatchedPaths(*tree, watches, After(std::chrono::seconds(20)), {});
  ASSERT_EQ(paths.size(), 1u);
  EXPECT_EQ(paths[0].path, watched);
  EXPECT_TRUE(FindWatchedPaths(*tree, watches, After(std::chrono::seconds(0)), {}).empty())
      << "the walk is bounded";
}

TEST(WatchesTest, TheCacheHasCriusForm) {
  std::string bytes = IrmapCache({{{0x26, 0x108080}, "/bin"}});
  EXPECT_EQ(bytes.substr(0, 8), std::string("\x40\x59\x10\x55\x59\x40\x00\x57", 8));
  EXPECT_EQ(bytes.substr(8), std::string("\x0c\x00\x00\x00\x08\x26\x10\x80\x81\x42\x1a\x04/bin", 16));
}

}  // namespace
}  // namespace stasis::criu
