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
    EXPECT_TRUE(ListCheckpoints(directory_)->empty());
  }
  EXPECT_TRUE(ListDirectory(directory_)->empty());
}

TEST_F(StagingTest, PublishingIsOneRename) {
  {
    auto staging = Staging::Create(directory_, name_);
    ASSERT_TRUE(staging.ok());
    ASSERT_TRUE(WriteFileAtomically(staging->images_path() + "/pages-1.img", std::string(1 << 20, 'x')).ok());
    uint64_t told = 0;
    ASSERT_TRUE(staging->Sync([&](uint64_t bytes) { told = bytes; }, {}).ok());
    EXPECT_EQ(told, 1u << 20);
    EXPECT_TRUE(ListCheckpoints(directory_)->empty());
    ASSERT_TRUE(staging->Publish().ok());
    struct stat info;
    ASSERT_EQ(::stat(staging->published_path().c_str(), &info), 0);
    EXPECT_EQ(info.st_ino, staging->inode());
  }
  EXPECT_EQ(*ListDirectory(directory_), std::vector<std::string>{"cp1"});
  EXPECT_TRUE(Exists(directory_ + "/cp1/criu/pages-1.img"));
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

TEST_F(StagingTest, ACancelledSyncIsNotPublished) {
  auto staging = Staging::Create(directory_, name_);
  ASSERT_TRUE(staging.ok());
  ASSERT_TRUE(WriteFileAtomically(staging->images_path() + "/pages-1.img", std::string(20 << 20, 'x')).ok());
  std::stop_source stop;
  EXPECT_TRUE(absl::IsCancelled(staging->Sync([&](uint64_t) { stop.request_stop(); }, stop.get_token())));
}

}  // namespace
}  // namespace stasis::checkpoint
