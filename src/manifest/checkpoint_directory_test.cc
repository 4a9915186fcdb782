#include "manifest/checkpoint_directory.h"

#include <gtest/gtest.h>
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
  auto list = ListCheckpoints(root_ + "/none");
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

TEST_F(CheckpointDirectoryTest, ListsTheWholeOnesByNameAndSkipsTheRest) {
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

  auto list = ListCheckpoints(root_);
  ASSERT_TRUE(list.ok()) << list.status();
  ASSERT_EQ(list->size(), 2u);
  EXPECT_EQ((*list)[0].name, "cp1");
  EXPECT_EQ((*list)[1].name, "cp2");
  EXPECT_EQ((*list)[1].bytes, 42u);
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
  Make(".cp2.partial-abcd", Text("cp2"));
  Make(".cp3.deleted-abcd", Text("cp3"));
  Make(".config", "{}");
  EXPECT_TRUE(RemoveLeftovers(root_).ok());
  EXPECT_EQ(*ListDirectory(root_), (std::vector<std::string>{".config", "cp1"}));
}

}  // namespace
}  // namespace stasis
