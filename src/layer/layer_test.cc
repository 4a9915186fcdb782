// Captured and made again: what a container may have done to its layer.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <thread>

#include "layer/capture.h"
#include "layer/rebuild.h"
#include "linux/files.h"

namespace stasis::layer {
namespace {

class LayerTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    // Not a tmpfs, which has no trusted attributes everywhere.
    auto made = TemporaryDirectory::Create("/var/tmp", "layer-test-");
    ASSERT_TRUE(made.ok()) << made.status();
    temporary_.emplace(*std::move(made));
    ASSERT_TRUE(MakeDirectories(upper_ = temporary_->path() + "/upper").ok());
    store_ = temporary_->path() + "/store";
  }

  void Write(const std::string& name, const std::string& text) {
    ASSERT_TRUE(WriteFileAtomically(upper_ + "/" + name, text).ok());
  }

  char* Map(const std::string& name) {
    const UniqueFd file = *OpenFile(upper_ + "/" + name, O_RDWR);
    return static_cast<char*>(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0));
  }

  // Long enough for the next change to have another time.
  static void Settle() { std::this_thread::sleep_for(std::chrono::milliseconds(60)); }

  std::unique_ptr<Capture> StartCapture(std::vector<Entry> earlier = {}) {
    writer_ = *store::Writer::Start(store_);
    read_ = 0;
    const auto on_bytes = [this](uint64_t bytes) {
      read_ += bytes;
      return absl::OkStatus();
    };
    auto capture = std::make_unique<Capture>(*OpenDirectory(upper_), writer_.get(), on_bytes, [this] {
      auto mapped = mapped_;
      if (on_ask_) on_ask_();
      return mapped;
    });
    EXPECT_TRUE(capture->StartFrom(std::move(earlier)).ok());
    return capture;
  }

  std::vector<Entry> Finish(Capture* capture) {
    const Status status = capture->Finish({});
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_TRUE(writer_->Commit().ok());
    auto entries = Parse(ToText(capture->entries()));
    EXPECT_TRUE(entries.ok()) << entries.status();
    return *std::move(entries);
  }

  std::vector<Entry> CaptureAll() { return Finish(StartCapture().get()); }

  Status RebuildAll(const std::vector<Entry>& entries) {
    again_ = temporary_->path() + "/again";
    STASIS_RETURN_IF_ERROR(RemoveTree(again_));
    STASIS_RETURN_IF_ERROR(MakeDirectories(again_));
    auto finder = store::PageFinder::Open(store_);
    return Rebuild(entries, finder->get(), OpenDirectory(again_)->get(), nullptr, {});
  }

  static std::string ByPath(const std::vector<Entry>& entries) {
    std::string paths;
    for (const Entry& entry : entries) paths += entry.path + " ";
    return paths;
  }

  std::optional<TemporaryDirectory> temporary_;
  std::string upper_, again_, store_;
  std::unique_ptr<store::Writer> writer_;
  uint64_t read_ = 0;
  std::set<std::string> mapped_;
  std::function<void()> on_ask_;
};

TEST_F(LayerTest, EverythingComesBack) {
  ASSERT_EQ(::chmod(upper_.c_str(), 0751), 0);
  Write("file", "content");
  ASSERT_EQ(::chmod((upper_ + "/file").c_str(), 04711), 0);
  ASSERT_EQ(::chown((upper_ + "/file").c_str(), 1000, 1001), 0);
  ASSERT_EQ(::chmod((upper_ + "/file").c_str(), 04711), 0);
  ASSERT_EQ(::setxattr((upper_ + "/file").c_str(), "user.note", "a\0b", 3, 0), 0);
  ASSERT_EQ(::link((upper_ + "/file").c_str(), (upper_ + "/second").c_str()), 0);
  ASSERT_TRUE(MakeDirectories(upper_ + "/dir/\xff odd %").ok());
  ASSERT_EQ(::setxattr((upper_ + "/dir").c_str(), "trusted.overlay.opaque", "y", 1, 0), 0);
  ASSERT_EQ(::setxattr((upper_ + "/dir").c_str(), "trusted.overlay.impure", "y", 1, 0), 0);
  Write("dir/\xff odd %/deep", std::string(100'000, 'd'));
  ASSERT_EQ(::symlink("../..//nowhere", (upper_ + "/link").c_str()), 0);
  ASSERT_EQ(::mknod((upper_ + "/gone").c_str(), S_IFCHR, 0), 0);  // a whiteout
  ASSERT_EQ(::mknod((upper_ + "/null").c_str(), S_IFCHR | 0640, makedev(1, 3)), 0);
  ASSERT_EQ(::mkfifo((upper_ + "/fifo").c_str(), 0600), 0);
  {
    const UniqueFd sparse = *OpenFile(upper_ + "/sparse", O_WRONLY | O_CREAT, 0600);
    ASSERT_EQ(::pwrite(sparse.get(), "end", 3, 10 << 20), 3);
  }
  Write("empty", "");
  const timespec times[2] = {{1000, 0}, {1'234'567'890, 123'456'789}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (upper_ + "/dir").c_str(), times, 0), 0);

  const std::vector<Entry> entries = CaptureAll();
  const Status status = RebuildAll(entries);
  ASSERT_TRUE(status.ok()) << status;
  // The same, seen by the same eyes, but for inodes and times of change.
  upper_ = again_;
  std::vector<Entry> second = CaptureAll();
  ASSERT_EQ(ByPath(second), ByPath(entries));
  for (size_t i = 0; i < entries.size(); ++i) {
    second[i].inode = entries[i].inode;
    second[i].changed = entries[i].changed;
    std::vector<Entry> one = {entries[i]};
    one[0].attributes.erase("trusted.overlay.impure");
    EXPECT_EQ(ToText({second[i]}), ToText(one));
  }
  struct stat first, other;
  ASSERT_EQ(::stat((again_ + "/file").c_str(), &first), 0);
  ASSERT_EQ(::stat((again_ + "/second").c_str(), &other), 0);
  EXPECT_EQ(first.st_ino, other.st_ino);
  ASSERT_EQ(::stat((again_ + "/sparse").c_str(), &first), 0);
  EXPECT_LE(first.st_blocks, 64);
  EXPECT_LT(::getxattr((again_ + "/dir").c_str(), "trusted.overlay.impure", nullptr, 0), 0);
}

// 64 GiB, of which two pages were written.
TEST_F(LayerTest, HolesAreNotRead) {
  constexpr off_t kSize = off_t{1} << 36;
  const UniqueFd file = *OpenFile(upper_ + "/sparse", O_RDWR | O_CREAT);
  if (::ftruncate(file.get(), kSize) != 0) GTEST_SKIP() << "no such large files here";
  for (const off_t at : {off_t{12345}, kSize / 2}) ASSERT_EQ(::pwrite(file.get(), "written", 7, at), 7);
  if (::lseek(file.get(), 1 << 20, SEEK_HOLE) != 1 << 20) GTEST_SKIP() << "this file system tells no holes";
  const std::vector<Entry> entries = CaptureAll();
  EXPECT_LT(read_, 8u << 20);
  const Status made = RebuildAll(entries);
  ASSERT_TRUE(made.ok()) << made;
  struct stat info;
  ASSERT_EQ(::stat((again_ + "/sparse").c_str(), &info), 0);
  EXPECT_EQ(info.st_size, kSize);
  EXPECT_LT(info.st_blocks, 10'000);
  char text[8] = {};
  EXPECT_EQ(::pread(OpenFile(again_ + "/sparse", O_RDONLY)->get(), text, 7, kSize / 2), 7);
  EXPECT_STREQ(text, "written");
}

TEST_F(LayerTest, WhatDidNotChangeIsNotReadAgain) {
  Write("big", std::string(1 << 20, 'b'));
  Write("log", "one\n");
  Settle();
  const std::vector<Entry> first = CaptureAll();
  EXPECT_EQ(read_, (1u << 20) + 4);
  Write("log", "one\ntwo\n");
  Settle();
  const std::vector<Entry> second = Finish(StartCapture(first).get());
  EXPECT_EQ(read_, 8u);
  ASSERT_TRUE(RebuildAll(second).ok());
  EXPECT_EQ(*ReadFile(again_ + "/log"), "one\ntwo\n");
  EXPECT_EQ(ReadFile(again_ + "/big")->size(), 1u << 20);
}

TEST_F(LayerTest, WhatChangedAfterTheFirstReadIsReadAgain) {
  Write("stays", std::string(1 << 20, 's'));
  Write("grows", "one\n");
  Write("goes", "x");
  Settle();
  auto capture = StartCapture();
  ASSERT_TRUE(capture->Read({}).ok());
  read_ = 0;
  Write("grows", "one\ntwo\n");
  Write("comes", "new");
  ASSERT_EQ(::unlink((upper_ + "/goes").c_str()), 0);
  ASSERT_EQ(::chmod((upper_ + "/stays").c_str(), 0644), 0);
  const std::vector<Entry> entries = Finish(capture.get());
  EXPECT_EQ(ByPath(entries), ". comes grows stays ");
  ASSERT_TRUE(RebuildAll(entries).ok());
  EXPECT_EQ(*ReadFile(again_ + "/grows"), "one\ntwo\n");
}

TEST_F(LayerTest, AChangeWithinTheSameTickIsNotMissed) {
  // Written again at once, in place, with the same size: its times may be the same.
  for (int round = 0; round < 50; ++round) {
    Write("hot", "aaaa");
    auto capture = StartCapture();
    ASSERT_TRUE(capture->Read({}).ok());
    const UniqueFd file = *OpenFile(upper_ + "/hot", O_WRONLY);
    ASSERT_EQ(::write(file.get(), "bbbb", 4), 4);
    const std::vector<Entry> entries = Finish(capture.get());
    ASSERT_EQ(::pwrite(file.get(), "cccc", 4, 0), 4);
    ASSERT_TRUE(RebuildAll(entries).ok());
    ASSERT_EQ(*ReadFile(again_ + "/hot"), "bbbb");
    // Nor by the next capture, nor by who asks whether anything has changed.
    EXPECT_FALSE(*IsAsCaptured(OpenDirectory(upper_)->get(), entries, {}));
    ASSERT_TRUE(RebuildAll(Finish(StartCapture(entries).get())).ok());
    ASSERT_EQ(*ReadFile(again_ + "/hot"), "cccc");
  }
}

TEST_F(LayerTest, WhatIsMappedForWritingIsReadAgainThoughItsTimesSayNothing) {
  Write("mapped", std::string(4096, 'a'));
  char* mapped = Map("mapped");
  mapped[0] = 'b';
  Settle();
  mapped_ = {"mapped"};
  auto capture = StartCapture();
  ASSERT_TRUE(capture->Read({}).ok());
  mapped[0] = 'c';  // its page is writable already: no fault, no time
  const std::vector<Entry> entries = Finish(capture.get());
  ASSERT_TRUE(RebuildAll(entries).ok());
  EXPECT_EQ((*ReadFile(again_ + "/mapped"))[0], 'c');
  EXPECT_FALSE(*IsAsCaptured(OpenDirectory(upper_)->get(), entries, {}));
  ::munmap(mapped, 4096);
}

TEST_F(LayerTest, WhatWasMappedAndIsNoMoreIsReadAgainToo) {
  Write("mapped", std::string(4096, 'a'));
  char* mapped = Map("mapped");
  mapped[0] = 'b';
  Settle();
  mapped_ = {"mapped"};
  auto capture = StartCapture();
  ASSERT_TRUE(capture->Read({}).ok());
  mapped[0] = 'c';
  ::munmap(mapped, 4096);
  Settle();  // that had a time after all, if the page was written back to the disk before
  mapped_ = {};
  std::vector<Entry> entries = Finish(capture.get());
  ASSERT_TRUE(RebuildAll(entries).ok());
  EXPECT_EQ((*ReadFile(again_ + "/mapped"))[0], 'c');
  EXPECT_TRUE(*IsAsCaptured(OpenDirectory(upper_)->get(), entries, {})) << "from now on its times tell";
}

TEST_F(LayerTest, WhatIsMappedWhileItIsReadIsReadAgainToo) {
  Write("mapped", std::string(4096, 'a'));
  Settle();
  char* mapped = nullptr;
  // Once it was asked what is mapped, and before the file is read.
  on_ask_ = [&] {
    if (mapped != nullptr) return;
    mapped = Map("mapped");
    mapped[0] = 'b';
    Settle();
  };
  auto capture = StartCapture();
  ASSERT_TRUE(capture->Read({}).ok());
  mapped[0] = 'c';
  ::munmap(mapped, 4096);
  ASSERT_TRUE(RebuildAll(Finish(capture.get())).ok());
  EXPECT_EQ((*ReadFile(again_ + "/mapped"))[0], 'c');
}

TEST_F(LayerTest, WhatIsMappedByAnotherOfItsNamesIsReadAgain) {
  for (const std::string name : {"other", "of two\nlines"}) {
    Write("first", std::string(4096, 'a'));
    ASSERT_EQ(::link((upper_ + "/first").c_str(), (upper_ + "/" + name).c_str()), 0);
    char* mapped = Map(name);
    mapped[0] = 'b';
    Settle();
    mapped_ = {name == "other" ? name : "of two\\012lines"};
    auto capture = StartCapture();
    ASSERT_TRUE(capture->Read({}).ok());
    mapped[0] = 'c';
    const std::vector<Entry> entries = Finish(capture.get());
    ASSERT_TRUE(RebuildAll(entries).ok());
    EXPECT_EQ((*ReadFile(again_ + "/first"))[0], 'c') << name;
    EXPECT_EQ((*ReadFile(again_ + "/" + name))[0], 'c') << name;
    mapped[0] = 'd';
    ::munmap(mapped, 4096);
    mapped_ = {};
    EXPECT_FALSE(*IsAsCaptured(OpenDirectory(upper_)->get(), entries, {}));
    ASSERT_TRUE(RebuildAll(Finish(StartCapture(entries).get())).ok());
    EXPECT_EQ((*ReadFile(again_ + "/first"))[0], 'd') << name;
  }
}

TEST_F(LayerTest, AFifoThatComesInAFilesPlaceIsNotOpened) {
  Write("file", "x");
  ASSERT_EQ(::mkfifo((upper_ + "/fifo").c_str(), 0600), 0);
  const UniqueFd directory = *OpenDirectory(upper_);
  std::atomic<int> opened = 0;
  std::jthread swapping([&](std::stop_token stop) {
    while (!stop.stop_requested()) {
      ::renameat2(directory.get(), "file", directory.get(), "fifo", RENAME_EXCHANGE);
      // Of a FIFO that nobody has open for reading, ENXIO.
      for (const char* name : {"file", "fifo"}) {
        struct stat info;
        if (::fstatat(directory.get(), name, &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISFIFO(info.st_mode))
          continue;
        const int fifo = ::openat(directory.get(), name, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
        struct stat now;
        if (fifo >= 0 && ::fstat(fifo, &now) == 0 && S_ISFIFO(now.st_mode)) ++opened;
        if (fifo >= 0) ::close(fifo);
      }
    }
  });
  auto capture = StartCapture();
  for (int round = 0; round < 2000 && opened == 0; ++round) ASSERT_TRUE(capture->Read({}).ok());
  swapping.request_stop();
  swapping.join();
  EXPECT_EQ(opened, 0);
}

TEST_F(LayerTest, WhatIsAsCapturedIsKnownAndAnyChangeIsSeen) {
  ASSERT_TRUE(MakeDirectories(upper_ + "/a/b").ok());
  Write("a/b/file", "1");
  Write("z", "2");
  ASSERT_EQ(::link((upper_ + "/z").c_str(), (upper_ + "/zz").c_str()), 0);
  Settle();
  const std::vector<Entry> entries = CaptureAll();
  const UniqueFd directory = *OpenDirectory(upper_);
  EXPECT_TRUE(*IsAsCaptured(directory.get(), entries, {}));
  Write("a/b/more", "");
  EXPECT_FALSE(*IsAsCaptured(directory.get(), entries, {}));
  ASSERT_EQ(::unlink((upper_ + "/a/b/more").c_str()), 0);
  EXPECT_TRUE(*IsAsCaptured(directory.get(), entries, {})) << "it came and went";
  ASSERT_EQ(::chmod((upper_ + "/a").c_str(), 0711), 0);
  EXPECT_FALSE(*IsAsCaptured(directory.get(), entries, {}));
}

TEST_F(LayerTest, AStrangersEntriesStayInside) {
  ASSERT_TRUE(MakeDirectories(temporary_->path() + "/outside").ok());
  Entry root, link, file;
  root.path = ".";
  root.mode = S_IFDIR | 0755;
  link.path = "link";
  link.mode = S_IFLNK | 0777;
  link.target = temporary_->path() + "/outside";
  file.path = "link/file";
  file.mode = S_IFREG | 0600;
  EXPECT_FALSE(RebuildAll({root, link, file}).ok());
  Entry hard = file;
  hard.path = "hard";
  hard.hard_link = "link/../../etc/passwd";
  EXPECT_FALSE(RebuildAll({root, link, hard}).ok());
  EXPECT_TRUE(ListDirectory(temporary_->path() + "/outside")->empty());
  Entry attribute = file;
  attribute.path = "attribute";
  attribute.attributes = {{"trusted.overlay.metacopy", "x"}, {"security.selinux", "x"}, {"user.kept", "y"}};
  ASSERT_TRUE(RebuildAll({root, attribute}).ok());
  EXPECT_LT(::getxattr((again_ + "/attribute").c_str(), "trusted.overlay.metacopy", nullptr, 0), 0);
  EXPECT_EQ(::getxattr((again_ + "/attribute").c_str(), "user.kept", nullptr, 0), 1);
}

TEST_F(LayerTest, AHostileDocumentIsRefused) {
  Entry entry;
  entry.path = "file";
  entry.mode = S_IFREG | 0600;
  ASSERT_TRUE(Parse(ToText({entry})).ok());
  for (const char* path : {"", "/etc/passwd", "..", "a/../../b", "a//b", "a/", "./a"}) {
    Entry bad = entry;
    bad.path = path;
    EXPECT_TRUE(absl::IsDataLoss(Parse(ToText({bad})).status())) << path;
    bad = entry;
    bad.hard_link = path;
    if (*path != '\0') {
      EXPECT_TRUE(absl::IsDataLoss(Parse(ToText({bad})).status())) << path;
    }
  }
  Entry bad = entry;
  bad.mode = 0600;
  EXPECT_TRUE(absl::IsDataLoss(Parse(ToText({bad})).status()));
  const std::string text = ToText({entry});
  for (size_t size = 1; size < text.size(); ++size)
    EXPECT_TRUE(absl::IsDataLoss(Parse(text.substr(0, size)).status())) << size;
  for (const char* line : {"[]\n", "{}\n", "{\"path\":\"%\"}\n", "{\"path\":\"%zz\",\"mode\":32768}\n"})
    EXPECT_TRUE(absl::IsDataLoss(Parse(line).status())) << line;
}

TEST_F(LayerTest, DeepTreesAndGrowingFilesHaveAnEnd) {
  const int root = ::open(upper_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  UniqueFd at(root);
  for (int depth = 0; depth < 600; ++depth) {
    ASSERT_EQ(::mkdirat(at.get(), "d", 0700), 0);
    at = *OpenDirectoryAt(at.get(), "d");
  }
  auto capture = StartCapture();
  EXPECT_THAT(Message(capture->Read({})), testing::HasSubstr("nested too deep"));
}

}  // namespace
}  // namespace stasis::layer
