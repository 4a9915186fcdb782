#include "manifest/checkpoint_directory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sha256.h"
#include "linux/files.h"

namespace stasis {
namespace {

class CheckpointDirectoryTest : public testing::Test {
 protected:
  void SetUp() override {
    auto temporary = TemporaryDirectory::Create(testing::TempDir(), "checkpoints-");
    ASSERT_TRUE(temporary.ok()) << temporary.status();
    temporary_.emplace(*std::move(temporary));
    root_ = temporary_->path();
  }

  static CheckpointName NameOf(const std::string& text) { return *CheckpointName::Parse(text); }

  void Make(const std::string& name, const std::string& text) {
    const std::string directory = root_ + "/" + name;
    ASSERT_TRUE(MakeDirectories(directory).ok());
    ASSERT_TRUE(WriteFileAtomically(directory + "/" + kManifestFile, text).ok());
    ASSERT_TRUE(
        WriteFileAtomically(directory + "/" + kManifestDigestFile, Hex(Sha256Of(text)) + "  manifest.json\n")
            .ok());
  }

  static std::string Text(const std::string& name) {
    Manifest manifest;
    manifest.name = name;
    manifest.created = absl::UnixEpoch();
    manifest.bytes = 42;
    return ToText(manifest);
  }

  std::optional<TemporaryDirectory> temporary_;
  std::string root_;
};

TEST_F(CheckpointDirectoryTest, ADirectoryThatIsNotThereHoldsNone) {
  auto list = FindCheckpoints({root_ + "/none"});
  ASSERT_TRUE(list.ok()) << list.status();
  EXPECT_TRUE(list->empty());
}

TEST_F(CheckpointDirectoryTest, AManifestWithAnotherDigestIsDamaged) {
  Manifest manifest;
  manifest.created = absl::UnixEpoch();
  ASSERT_TRUE(MakeDirectories(root_ + "/cp1").ok());
  ASSERT_TRUE(WriteManifest(root_ + "/cp1", manifest).ok());
  EXPECT_TRUE(ReadManifest(root_, NameOf("cp1")).ok());
  const std::string path = root_ + "/cp1/" + kManifestFile;
  std::string text = *ReadFile(path);
  text[text.find("false")] = 'F';
  for (const std::string& bad : {text, *ReadFile(path) + " "}) {
    ASSERT_TRUE(WriteFileAtomically(path, bad).ok());
    EXPECT_TRUE(absl::IsDataLoss(ReadManifest(root_, NameOf("cp1")).status()));
  }
}

TEST_F(CheckpointDirectoryTest, FindsThemByNameWholeOrNotAndNothingElse) {
  Make("cp2", Text("cp2"));
  Make("cp1", Text("cp1"));
  Make("broken", "{");
  Make(".cp3.partial-abcd", Text("cp3"));
  ASSERT_TRUE(MakeDirectories(root_ + "/stranger").ok());
  ASSERT_EQ(::symlink("cp1", (root_ + "/link").c_str()), 0);
  ASSERT_TRUE(MakeDirectories(root_ + "/fifo").ok());
  ASSERT_EQ(::mkfifo((root_ + "/fifo/" + kManifestFile).c_str(), 0600), 0);
  ASSERT_TRUE(MakeDirectories(root_ + "/linked").ok());
  ASSERT_EQ(::symlink("../cp1/manifest.json", (root_ + "/linked/" + kManifestFile).c_str()), 0);

  auto list = FindCheckpoints({root_});
  ASSERT_TRUE(list.ok()) << list.status();
  ASSERT_EQ(list->size(), 4u);
  const char* names[] = {"broken", "cp1", "cp2", "fifo"};
  for (size_t i = 0; i < list->size(); ++i) EXPECT_EQ((*list)[i].name, names[i]);
  EXPECT_TRUE(absl::IsDataLoss((*list)[0].manifest.status()));
  EXPECT_EQ((*list)[2].manifest->bytes, 42u);
  EXPECT_FALSE((*list)[3].manifest.ok());
  EXPECT_EQ(*ListCheckpointNames(root_), (std::vector<std::string>{"broken", "cp1", "cp2", "fifo"}));
  EXPECT_TRUE(ListCheckpointNames(root_ + "/nowhere")->empty());
}

// Counts how often files are opened.
class Opens {
 public:
  Opens() : notify_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {}
  void Watch(const std::string& file) {
    EXPECT_GE(::inotify_add_watch(notify_.get(), file.c_str(), IN_OPEN), 0);
  }
  size_t Take() {
    alignas(inotify_event) char events[1 << 16];
    const ssize_t got = ::read(notify_.get(), events, sizeof events);
    return got < 0 ? 0 : static_cast<size_t>(got) / sizeof(inotify_event);
  }

 private:
  UniqueFd notify_;
};

TEST_F(CheckpointDirectoryTest, TheNewestIsFoundWithoutReadingTheChain) {
  Opens opens;
  for (int i = 0; i < 100; ++i) {
    const std::string name = "cp" + std::to_string(i);
    Make(name, Text(name));
    // A minute later each.
    const timespec times[2] = {{60 * i, 0}, {60 * i, 0}};
    ASSERT_EQ(::utimensat(AT_FDCWD, (root_ + "/" + name).c_str(), times, 0), 0);
    opens.Watch(root_ + "/" + name + "/" + kManifestFile);
  }
  auto newest = FindNewest(root_, [](const Manifest&) { return true; });
  ASSERT_TRUE(newest.ok() && *newest) << newest.status();
  EXPECT_EQ((*newest)->name, "cp99");
  EXPECT_EQ(opens.Take(), 1u);
  // Of a container whose last one is some way back, and of one that has none: never all of them.
  newest = FindNewest(root_, [](const Manifest& manifest) { return manifest.name == "cp90"; });
  ASSERT_TRUE(newest.ok() && *newest) << newest.status();
  EXPECT_EQ(opens.Take(), 10u);
  newest = FindNewest(root_, [](const Manifest&) { return false; });
  ASSERT_TRUE(newest.ok()) << newest.status();
  EXPECT_FALSE(*newest);
  EXPECT_EQ(opens.Take(), 64u);
}

TEST_F(CheckpointDirectoryTest, TheNewestIsOneThatCanBeRead) {
  EXPECT_FALSE(*FindNewest(root_ + "/none", [](const Manifest&) { return true; }));
  Make("cp1", Text("cp1"));
  Make("cp2", "{");
  ASSERT_TRUE(MakeDirectories(root_ + "/stranger").ok());
  ASSERT_EQ(::symlink("cp1", (root_ + "/link").c_str()), 0);
  EXPECT_EQ((*FindNewest(root_, [](const Manifest&) { return true; }))->name, "cp1");
}

TEST_F(CheckpointDirectoryTest, ReadsOneManifest) {
  Make("cp1", Text("cp1"));
  Make("broken", "{");
  EXPECT_EQ(ReadManifest(root_, NameOf("cp1"))->bytes, 42u);
  EXPECT_TRUE(absl::IsNotFound(ReadManifest(root_, NameOf("cp2")).status()));
  EXPECT_TRUE(absl::IsNotFound(ReadManifest(root_ + "/none", NameOf("cp2")).status()));
  EXPECT_TRUE(absl::IsDataLoss(ReadManifest(root_, NameOf("broken")).status()));
}

TEST_F(CheckpointDirectoryTest, ANameInUseIsNotFree) {
  Make("cp1", Text("cp1"));
  ASSERT_TRUE(MakeDirectories(root_ + "/stranger").ok());
  EXPECT_TRUE(*CheckpointExists(root_, NameOf("cp1")));
  EXPECT_TRUE(*CheckpointExists(root_, NameOf("stranger")));
  EXPECT_FALSE(*CheckpointExists(root_, NameOf("cp2")));
  EXPECT_FALSE(*CheckpointExists(root_ + "/none", NameOf("cp2")));
}

TEST_F(CheckpointDirectoryTest, DeletesWholeAndBrokenOnes) {
  Make("cp1", Text("cp1"));
  Make("broken", "{");
  EXPECT_TRUE(DeleteCheckpoint(root_, NameOf("cp1")).ok());
  EXPECT_TRUE(DeleteCheckpoint(root_, NameOf("broken")).ok());
  EXPECT_TRUE(ListDirectory(root_)->empty());
  EXPECT_TRUE(absl::IsNotFound(DeleteCheckpoint(root_, NameOf("cp1"))));
}

TEST_F(CheckpointDirectoryTest, NeverDeletesADirectoryThatIsNoCheckpoint) {
  ASSERT_TRUE(MakeDirectories(root_ + "/home/work").ok());
  ASSERT_EQ(::symlink("home", (root_ + "/link").c_str()), 0);
  EXPECT_TRUE(absl::IsNotFound(DeleteCheckpoint(root_, NameOf("home"))));
  EXPECT_TRUE(absl::IsNotFound(DeleteCheckpoint(root_, NameOf("link"))));
  EXPECT_TRUE(Exists(root_ + "/home/work"));
}

TEST_F(CheckpointDirectoryTest, RemovesWhatDeadMakersLeft) {
  Make("cp1", Text("cp1"));
  Make(".cp2.partial-0123456789abcdef", Text("cp2"));
  Make(".cp3.deleted-01234567", Text("cp3"));
  Make(".living.partial-0123456789abcdef", Text("living"));
  // Nobody's but a stranger's.
  const std::vector<std::string> strangers = {".config", ".partial-01234567", ".x.partial-",
                                              ".x.partial-report01", ".x.partial-0123456789abcdef.txt"};
  for (const std::string& name : strangers) Make(name, "{}");
  ASSERT_TRUE(MakeDirectories(root_ + "/home").ok());
  ASSERT_EQ(::symlink("home", (root_ + "/.y.partial-01234567").c_str()), 0);
  const UniqueFd living = *OpenDirectory(root_ + "/.living.partial-0123456789abcdef");
  ASSERT_TRUE(LockAside(living.get()));
  EXPECT_TRUE(RemoveLeftovers(root_).ok());
  EXPECT_FALSE(Exists(root_ + "/.cp2.partial-0123456789abcdef"));
  EXPECT_FALSE(Exists(root_ + "/.cp3.deleted-01234567"));
  for (const char* name : {"cp1", "home", ".y.partial-01234567", ".living.partial-0123456789abcdef"})
    EXPECT_TRUE(Exists(root_ + "/" + name)) << name;
  for (const std::string& name : strangers) EXPECT_TRUE(Exists(root_ + "/" + name)) << name;
}

}  // namespace
}  // namespace stasis
