#include "manifest/checkpoint_content.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "linux/files.h"
#include "manifest/checkpoint_directory.h"
#include "store/collector.h"

namespace stasis {
namespace {

class CheckpointContentTest : public testing::Test {
 protected:
  void SetUp() override {
    auto temporary = TemporaryDirectory::Create(testing::TempDir(), "content-");
    ASSERT_TRUE(temporary.ok()) << temporary.status();
    temporary_.emplace(*std::move(temporary));
    root_ = temporary_->path();
    for (const char* name : {"/images", "/back", "/checkpoints"}) {
      ASSERT_TRUE(MakeDirectories(root_ + name).ok());
    }
  }

  // A checkpoint of what is in images/.
  Manifest Make(const std::string& name) {
    Manifest manifest;
    manifest.name = name;
    manifest.created = absl::UnixEpoch();
    auto writer = store::Writer::Start(Store());
    EXPECT_TRUE(writer.ok()) << writer.status();
    const UniqueFd images = *OpenDirectory(root_ + "/images");
    EXPECT_TRUE(AddFiles(images.get(), writer->get(), &manifest.files, [](uint64_t) {}, {}).ok());
    EXPECT_TRUE((*writer)->Commit().ok());
    EXPECT_TRUE(MakeDirectories(root_ + "/checkpoints/" + name).ok());
    EXPECT_TRUE(WriteManifest(root_ + "/checkpoints/" + name, manifest).ok());
    return manifest;
  }

  Status Unpack(const Manifest& manifest) {
    EXPECT_TRUE(RemoveTree(root_ + "/back").ok() && MakeDirectories(root_ + "/back").ok());
    const UniqueFd back = *OpenDirectory(root_ + "/back");
    STASIS_ASSIGN_OR_RETURN(const auto finder, OpenStore(Store()));
    store::StreamReader reader(finder.get());
    for (const ManifestFile& file : manifest.files) {
      STASIS_RETURN_IF_ERROR(UnpackFile(&reader, file, back.get(), nullptr, {}));
    }
    return absl::OkStatus();
  }

  StatusOr<store::Collected> Collect() {
    return store::CollectGarbage(Store(),
                                 [&] {
                                   return StreamsOf({root_ + "/checkpoints", root_ + "/none"}, Store());
                                 },
                                 {});
  }

  std::string Store() const { return OwnStore(root_ + "/checkpoints"); }

  std::optional<TemporaryDirectory> temporary_;
  std::string root_;
};

TEST_F(CheckpointContentTest, FilesComeBackAsTheyWere) {
  const std::string big(3'000'001, 'b');
  ASSERT_TRUE(WriteFileAtomically(root_ + "/images/pages-1.img", big).ok());
  ASSERT_TRUE(WriteFileAtomically(root_ + "/images/empty.img", "").ok());
  const Manifest manifest = Make("cp1");
  ASSERT_TRUE(Unpack(manifest).ok());
  EXPECT_TRUE(*ReadFile(root_ + "/back/pages-1.img") == big);
  EXPECT_EQ(*ReadFile(root_ + "/back/empty.img"), "");
  EXPECT_EQ(ListDirectory(root_ + "/back")->size(), 2u);
}

TEST_F(CheckpointContentTest, WithoutItsStoreACheckpointIsDamagedAndNoneIsMade) {
  ASSERT_TRUE(WriteFileAtomically(root_ + "/images/core-1.img", "core").ok());
  const Manifest manifest = Make("cp1");
  ASSERT_TRUE(RemoveTree(Store()).ok());
  EXPECT_TRUE(absl::IsDataLoss(Unpack(manifest)));
  EXPECT_FALSE(Exists(Store()));
}

TEST_F(CheckpointContentTest, WhatACheckpointNeedsIsNotCollected) {
  ASSERT_TRUE(WriteFileAtomically(root_ + "/images/core-1.img", "first").ok());
  const Manifest first = Make("cp1");
  ASSERT_TRUE(WriteFileAtomically(root_ + "/images/core-1.img", "second").ok());
  const Manifest second = Make("cp2");
  ASSERT_TRUE(DeleteCheckpoint(root_ + "/checkpoints", *CheckpointName::Parse("cp1")).ok());
  auto collected = Collect();
  ASSERT_TRUE(collected.ok()) << collected.status();
  EXPECT_EQ(collected->packs, 1u);
  EXPECT_TRUE(Unpack(second).ok());
  EXPECT_TRUE(absl::IsDataLoss(Unpack(first)));
}

TEST_F(CheckpointContentTest, BesideAManifestThatCannotBeReadNothingIsCollected) {
  ASSERT_TRUE(WriteFileAtomically(root_ + "/images/core-1.img", "first").ok());
  const Manifest first = Make("cp1");
  const std::string path = root_ + "/checkpoints/cp1/" + kManifestFile;
  const std::string text = *ReadFile(path);
  for (const char* bad : {"{", R"({"version":99})"}) {
    ASSERT_TRUE(WriteFileAtomically(path, bad).ok());
    const Status status = Collect().status();
    EXPECT_TRUE(absl::IsDataLoss(status));
    EXPECT_NE(Message(status).find("checkpoints/cp1 cannot be read"), std::string::npos) << status;
  }
  ASSERT_TRUE(WriteFileAtomically(path, text).ok());
  EXPECT_TRUE(Unpack(first).ok());
}

}  // namespace
}  // namespace stasis
