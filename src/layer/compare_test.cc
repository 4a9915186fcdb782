#include "layer/compare.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "layer/capture.h"
#include "layer/image_layers.h"
#include "layer/rebuild.h"
#include "linux/files.h"

namespace stasis::layer {
namespace {

Entry Node(const std::string& path, uint32_t mode) {
  Entry entry;
  entry.path = path;
  entry.mode = mode;
  return entry;
}
Entry File(const std::string& path, unsigned char content = 1) {
  Entry entry = Node(path, S_IFREG | 0644);
  entry.content.size = 1;
  entry.content.root = {content};
  return entry;
}
Entry Dir(const std::string& path) { return Node(path, S_IFDIR | 0755); }
Entry Opaque(const std::string& path) {
  Entry entry = Dir(path);
  entry.attributes["trusted.overlay.opaque"] = "y";
  return entry;
}
Entry Whiteout(const std::string& path) { return Node(path, S_IFCHR); }

// As `docker diff` has it, of an image with these files.
std::string Diff(const std::vector<Entry>& before, const std::vector<Entry>& after,
                 const std::vector<Entry>& image = {}) {
  const auto changes = Compare(before, after, [&](const std::string& path) -> StatusOr<std::optional<Entry>> {
    for (const Entry& entry : image) {
      if (entry.path == path) return entry;
    }
    return std::nullopt;
  });
  if (!changes.ok()) return Message(changes.status());
  std::string text;
  for (const Change& change : *changes)
    text += std::string(1, "CAD"[static_cast<int>(change.kind)]) + " /" + change.path + "\n";
  return text;
}

TEST(CompareTest, WhatCameWentAndChangedIsToldInOrder) {
  Entry moved = File("c");
  moved.mode = S_IFREG | 0600;
  EXPECT_EQ(Diff({Dir("."), File("a"), File("b"), File("c"), File("same")},
                 {Dir("."), File("b", 2), moved, File("d"), File("same")}),
            "D /a\nC /b\nC /c\nA /d\n");
  EXPECT_EQ(Diff({Dir("."), File("a")}, {Dir("."), File("a")}), "");
}

TEST(CompareTest, AnyKindOfFileMayDiffer) {
  Entry link = Node("link", S_IFLNK | 0777), device = Node("device", S_IFCHR | 0600),
        touched = File("touched"), noted = File("noted");
  device.device = 5;
  const std::vector<Entry> before = {device, link, noted, touched};
  EXPECT_EQ(Diff(before, before), "");
  link.target = "elsewhere";
  device.device = 6;
  touched.modified.tv_nsec = 1;
  noted.attributes["user.note"] = "x";
  EXPECT_EQ(Diff(before, {device, link, noted, touched}), "C /device\nC /link\nC /noted\nC /touched\n");
  EXPECT_EQ(Diff({File("x")}, {Dir("x"), File("x/y")}), "C /x\nA /x/y\n");
}

TEST(CompareTest, DirectoriesDifferWhereSomethingInThemDoes) {
  Entry later = Dir("a");
  later.modified.tv_sec = 9;
  EXPECT_EQ(Diff({Dir("a"), Dir("a/b"), File("a/b/c")}, {later, Dir("a/b"), File("a/b/c")}), "");
  EXPECT_EQ(Diff({Dir("a"), Dir("a/b"), File("a/b/c")}, {Dir("a"), Dir("a/b"), File("a/b/c", 2)}),
            "C /a\nC /a/b\nC /a/b/c\n");
  EXPECT_EQ(Diff({}, {Dir("a"), Dir("a/b"), File("a/b/c")}), "A /a\nA /a/b\nA /a/b/c\n");
  // "a.b" stands between "a" and "a/b".
  EXPECT_EQ(Diff({Dir("a"), File("a.b"), Dir("a/b"), File("a/b/c")}, {File("a.b", 2)}), "D /a\nC /a.b\n");
}

TEST(CompareTest, WhatAWhiteoutHidesIsGone) {
  const std::vector<Entry> image = {Dir("bin"), File("bin/tac"), File("bin/tee")};
  const std::vector<Entry> deleted = {Dir("bin"), Whiteout("bin/tac")};
  EXPECT_EQ(Diff({}, deleted, image), "C /bin\nD /bin/tac\n");
  EXPECT_EQ(Diff(deleted, {}, image), "C /bin\nA /bin/tac\n");
  EXPECT_EQ(Diff(deleted, deleted, image), "");
  EXPECT_EQ(Diff(deleted, {Dir("bin"), File("bin/tac")}, image), "C /bin\nA /bin/tac\n");
  EXPECT_EQ(Diff({File("x")}, {Whiteout("x")}), "D /x\n");
  // Its directory went with it.
  EXPECT_EQ(Diff(deleted, {Whiteout("bin")}, image), "D /bin\n");
}

TEST(CompareTest, WhatTheImageHasIsChangedNotAdded) {
  const std::vector<Entry> image = {Dir("etc"), File("etc/passwd"), Dir("tmp")};
  EXPECT_EQ(Diff({}, {Dir("etc"), File("etc/passwd", 2)}, image), "C /etc\nC /etc/passwd\n");
  EXPECT_EQ(Diff({Dir("etc"), File("etc/passwd", 2)}, {}, image), "C /etc\nC /etc/passwd\n");
  EXPECT_EQ(Diff({}, {Dir("tmp")}, image), "") << "something was there and went again";
  Entry closed = Dir("tmp");
  closed.mode = S_IFDIR | 0700;
  EXPECT_EQ(Diff({}, {closed}, image), "C /tmp\n");
  // Of what an opaque directory hides, nothing is left to be changed.
  EXPECT_EQ(Diff({Opaque("etc")}, {Opaque("etc"), File("etc/passwd", 2)}, image), "C /etc\nA /etc/passwd\n");
  EXPECT_EQ(Diff({Dir("etc"), File("etc/passwd", 2)}, {Opaque("etc")}, image), "C /etc\nD /etc/passwd\n");
}

TEST(CompareTest, HardLinksAreFilesLikeOthers) {
  Entry second = File("b");
  second.hard_link = "a";
  second.content = {};
  EXPECT_EQ(Diff({File("a"), second}, {File("b")}), "D /a\n");
  EXPECT_EQ(Diff({File("b")}, {File("a", 2), second}), "A /a\nC /b\n");
  second.hard_link = "nowhere";  // a stranger's
  EXPECT_EQ(Diff({second}, {File("b")}), "C /b\n");
}

class CompareOnDiskTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    auto made = TemporaryDirectory::Create("/var/tmp", "compare-test-");
    ASSERT_TRUE(made.ok()) << made.status();
    temporary_.emplace(*std::move(made));
    ASSERT_TRUE(MakeDirectories(upper_ = temporary_->path() + "/upper").ok());
  }

  void Write(const std::string& name, const std::string& text) {
    ASSERT_TRUE(WriteFileAtomically(upper_ + "/" + name, text).ok());
  }
  void SetTime(const std::string& name, time_t seconds) {
    const timespec times[2] = {{seconds, 0}, {seconds, 0}};
    ASSERT_EQ(::utimensat(AT_FDCWD, (upper_ + "/" + name).c_str(), times, AT_SYMLINK_NOFOLLOW), 0);
  }
  std::vector<Entry> CaptureAll() {
    auto writer = *store::Writer::Start(temporary_->path() + "/store");
    Capture capture(
        *OpenDirectory(upper_), writer.get(), [](uint64_t) { return absl::OkStatus(); },
        [] { return std::set<std::string>(); });
    EXPECT_TRUE(capture.Finish({}).ok());
    EXPECT_TRUE(writer->Commit().ok());
    return capture.entries();
  }
  std::string DiffToNow(const std::vector<Entry>& captured) {
    const auto now = ListForComparison(OpenDirectory(upper_)->get(), captured, {});
    return now.ok() ? Diff(captured, *now) : Message(now.status());
  }

  std::optional<TemporaryDirectory> temporary_;
  std::string upper_;
};

TEST_F(CompareOnDiskTest, ADirectoryIsComparedWithItsCapture) {
  ASSERT_TRUE(MakeDirectories(upper_ + "/dir").ok());
  Write("dir/file", "1");
  Write("goes", "2");
  Write("stays", std::string(10'000, 's'));
  ASSERT_EQ(::link((upper_ + "/stays").c_str(), (upper_ + "/stays2").c_str()), 0);
  ASSERT_EQ(::mkfifo((upper_ + "/fifo").c_str(), 0600), 0);
  ASSERT_EQ(::symlink("/etc/passwd", (upper_ + "/link").c_str()), 0);
  const std::vector<Entry> captured = CaptureAll();
  EXPECT_EQ(DiffToNow(captured), "");
  Write("dir/file", "new");
  Write("dir/made", "");
  ASSERT_EQ(::unlink((upper_ + "/goes").c_str()), 0);
  EXPECT_EQ(DiffToNow(captured), "C /dir\nC /dir/file\nA /dir/made\nD /goes\n");
}

TEST_F(CompareOnDiskTest, WhereTimesLeaveADoubtTheContentTells) {
  const std::string big(5'000'000, 'b');  // chunks, a node of many pages, and a last page that is not full
  for (const char* name : {"big", "other", "empty"}) {
    Write(name, *name == 'e' ? "" : big);
    SetTime(name, 1000);
  }
  const std::vector<Entry> captured = CaptureAll();
  // As a restore puts them back: other inodes, the same times.
  for (const char* name : {"big", "other", "empty"}) {
    Write(name, *name == 'e' ? "" : *name == 'o' ? big.substr(1) + "x" : big);
    SetTime(name, 1000);
  }
  EXPECT_EQ(DiffToNow(captured), "C /other\n");
  Write("big", big);
  EXPECT_EQ(DiffToNow(captured), "C /big\nC /other\n") << "its time is another";
}

TEST_F(CompareOnDiskTest, LayersOfAnImageAreOneTree) {
  const auto layer = [&](const char* name) { return temporary_->path() + "/" + name; };
  for (const char* path : {"low/etc/deep", "low/old/deep", "low/usr", "middle/etc", "middle/old", "top/etc"})
    ASSERT_TRUE(MakeDirectories(layer(path)).ok());
  for (const char* path : {"low/etc/low", "low/etc/deep/file", "low/old/deep/file", "low/usr/file",
                           "low/gone", "middle/etc/middle", "middle/old/new", "top/usr"})
    ASSERT_TRUE(WriteFileAtomically(layer(path), path).ok());
  ASSERT_EQ(::mknod(layer("middle/gone").c_str(), S_IFCHR, 0), 0);
  ASSERT_EQ(::mknod(layer("top/etc/deep").c_str(), S_IFCHR, 0), 0);
  ASSERT_EQ(::setxattr(layer("middle/old").c_str(), "trusted.overlay.opaque", "y", 1, 0), 0);
  ASSERT_EQ(::symlink("etc", layer("top/link").c_str()), 0);
  const auto layers = ImageLayers::Open({layer("top"), layer("middle"), layer("low")});
  ASSERT_TRUE(layers.ok()) << layers.status();
  for (const char* path : {"etc", "etc/low", "etc/middle", "old/new", "usr", "link"})
    EXPECT_TRUE((*layers->Find(path)).has_value()) << path;
  for (const char* path : {"etc/deep", "etc/deep/file", "old/deep", "old/deep/file", "usr/file", "gone",
                           "link/low", "nowhere/at/all"})
    EXPECT_FALSE((*layers->Find(path)).has_value()) << path;
  EXPECT_FALSE((*layers->Find(std::string(200, 'x') + "/" + std::string(5000, 'y'))).has_value());
  EXPECT_EQ((*layers->Find("etc/low"))->content.size, std::string("low/etc/low").size());
}

}  // namespace
}  // namespace stasis::layer
