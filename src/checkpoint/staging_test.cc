#include "checkpoint/staging.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <optional>

#include "manifest/checkpoint_directory.h"

namespace stasis::checkpoint {
namespace {

class StagingTest : public testing::Test {
 protected:
  void SetUp() override {
    auto temporary = TemporaryDirectory::Create("/tmp", "staging-");
    ASSERT_TRUE(temporary.ok()) << temporary.status();
    temporary_.emplace(*std::move(temporary));
    directory_ = temporary_->path() + "/made/here";
  }

  const CheckpointName name_ = *CheckpointName::Parse("cp1");
  std::optional<TemporaryDirectory> temporary_;
  std::string directory_;
};

TEST_F(StagingTest, WhatWasNotPublishedLeavesNothing) {
  {
    auto staging = Staging::Create(directory_, name_);
    ASSERT_TRUE(staging.ok()) << staging.status();
    struct stat info;
    ASSERT_EQ(::stat(staging->images_path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0700u);
    EXPECT_EQ(ListDirectory(directory_)->size(), 1u);
    EXPECT_TRUE(FindCheckpoints({directory_})->empty());
  }
  EXPECT_TRUE(ListDirectory(directory_)->empty());
}

TEST_F(StagingTest, PublishingIsOneRename) {
  {
    auto staging = Staging::Create(directory_, name_);
    ASSERT_TRUE(staging.ok());
    ASSERT_TRUE(WriteFileAtomically(staging->images_path() + "/pages-1.img", "x").ok());
    ASSERT_TRUE(staging->RemoveImages().ok());
    ASSERT_TRUE(WriteFileAtomically(staging->path() + "/" + kManifestFile, "{}").ok());
    EXPECT_TRUE(FindCheckpoints({directory_})->empty());
    ASSERT_TRUE(staging->Publish().ok());
    struct stat info;
    ASSERT_EQ(::stat(staging->published_path().c_str(), &info), 0);
    EXPECT_EQ(info.st_ino, staging->inode());
  }
  EXPECT_EQ(*ListDirectory(directory_), std::vector<std::string>{"cp1"});
  EXPECT_EQ(*ListDirectory(directory_ + "/cp1"), std::vector<std::string>{kManifestFile});
}

TEST_F(StagingTest, WhatADeadMakerLeftIsRemovedByTheNextAndALivingOnesIsNot) {
  const std::string left = directory_ + "/.cp0.partial-0123456789abcdef";
  ASSERT_TRUE(MakeDirectories(left + "/criu").ok());
  ASSERT_TRUE(WriteFileAtomically(left + "/criu/pages-1.img", "x").ok());
  auto living = Staging::Create(directory_, name_);
  ASSERT_TRUE(living.ok()) << living.status();
  EXPECT_FALSE(Exists(left));
  auto other = Staging::Create(directory_, *CheckpointName::Parse("cp2"));
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_TRUE(Exists(living->path()));
  EXPECT_TRUE(living->Publish().ok());
}

TEST_F(StagingTest, ANameThatIsTakenIsRefusedAtTheBeginAndAtTheEnd) {
  auto early = Staging::Create(directory_, name_);
  ASSERT_TRUE(early.ok());
  auto late = Staging::Create(directory_, name_);
  ASSERT_TRUE(late.ok()) << "two may be made at once; one is published";
  ASSERT_TRUE(early->Publish().ok());
  EXPECT_TRUE(absl::IsAlreadyExists(late->Publish()));
  EXPECT_TRUE(absl::IsAlreadyExists(Staging::Create(directory_, name_).status()));
}

}  // namespace
}  // namespace stasis::checkpoint
