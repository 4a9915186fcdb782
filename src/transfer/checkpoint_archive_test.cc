#include "transfer/checkpoint_archive.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "layer/entry.h"
#include "linux/files.h"
#include "manifest/checkpoint_content.h"
#include "manifest/checkpoint_directory.h"
#include "store/stream_reader.h"
#include "transfer/tar_writer.h"

namespace stasis::transfer {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

std::string Random(size_t size, unsigned seed) {
  std::minstd_rand random(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

image::ReadBytes From(const std::string& bytes) {
  return [&bytes, at = size_t{0}](char* out, size_t size) mutable -> StatusOr<size_t> {
    size = std::min(size, bytes.size() - at);
    std::memcpy(out, bytes.data() + at, size);
    at += size;
    return size;
  };
}

Status Any(const Manifest&) { return absl::OkStatus(); }

class CheckpointArchiveTest : public testing::Test {
 protected:
  void SetUp() override {
    auto directory = TemporaryDirectory::Create("/var/tmp", "archive-test-");
    ASSERT_TRUE(directory.ok()) << directory.status();
    directory_.emplace(*std::move(directory));
    images_ = {Random(300'000, 1), std::string(2 << 20, '\0') + Random(5000, 2), "", std::string(4096, 'x')};
    writer_ = *store::Writer::Start(Store("from"));
    manifest_.name = "cp1";
    manifest_.container_id = std::string(64, 'a');
    manifest_.engine_record = R"({"Name": "web", "Config": {"Image": "busybox"}})";
    for (size_t i = 0; i < images_.size(); ++i)
      manifest_.files.push_back({"image-" + std::to_string(i), Put(images_[i])});
    layer::Entry root, file, link;
    root.path = ".";
    root.mode = S_IFDIR | 0755;
    file.path = "file";
    file.mode = S_IFREG | 0644;
    file.inode = 7;
    file.content = Put(file_);
    link = file;
    link.path = "link";
    link.hard_link = "file";
    link.content = {};
    manifest_.layer = Put(layer::ToText({root, file, link}));
    ASSERT_TRUE(writer_->Commit().ok());
  }
  std::string Store(const std::string& name) const { return directory_->path() + "/" + name; }
  store::StreamId Put(const std::string& bytes) {
    EXPECT_TRUE(writer_->Append(bytes).ok());
    return *writer_->EndStream();
  }
  std::string Export() {
    std::string bytes;
    const auto finder = store::PageFinder::Open(Store("from"));
    const Status status = ExportCheckpoint(manifest_, finder->get(),
                                           [&](std::string_view some) {
                                             bytes += some;
                                             return absl::OkStatus();
                                           },
                                           {});
    EXPECT_TRUE(status.ok()) << status;
    return bytes;
  }
  // Into DIRECTORY/to.
  Status Import(const std::string& bytes) {
    auto import = CheckpointImport::Read(From(bytes), Store("to/.store"), Any, {});
    STASIS_RETURN_IF_ERROR(import.status());
    return import->Publish(Store("to"), *CheckpointName::Parse("mine"));
  }
  // Archives of files by name, in this order.
  static std::string Tar(const std::vector<std::pair<std::string, std::string>>& files) {
    std::string bytes;
    const auto tar = *TarWriter::Open([&](std::string_view some) {
      bytes += some;
      return absl::OkStatus();
    });
    for (const auto& [name, content] : files) EXPECT_TRUE(tar->Add(name, content).ok());
    EXPECT_TRUE(tar->Finish().ok());
    return bytes;
  }

  std::optional<TemporaryDirectory> directory_;
  std::unique_ptr<store::Writer> writer_;
  std::vector<std::string> images_;
  const std::string file_ = Random(10'000, 3);
  Manifest manifest_;
};

TEST_F(CheckpointArchiveTest, WhatWasExportedIsImportedWhole) {
  const std::string bytes = Export();
  EXPECT_LT(bytes.size(), 400'000u) << "zeros are next to nothing";
  EXPECT_EQ(ReadArchiveManifest(From(bytes), {})->engine_record, manifest_.engine_record);
  ASSERT_TRUE(Import(bytes).ok()) << Import(bytes);
  const auto manifest = ReadManifest(Store("to"), *CheckpointName::Parse("mine"));
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->name, "mine");
  EXPECT_EQ(manifest->container_id, manifest_.container_id);
  const auto finder = *OpenStore(Store("to/.store"));
  for (size_t i = 0; i < images_.size(); ++i) {
    EXPECT_EQ(manifest->files[i].content, manifest_.files[i].content);
    EXPECT_EQ(*store::ReadShortStream(finder.get(), manifest->files[i].content, 4 << 20), images_[i]);
  }
  const std::vector<layer::Entry> layer = *ReadLayer(*manifest, finder.get());
  ASSERT_EQ(layer.size(), 3u);
  EXPECT_EQ(layer[1].inode, 0u) << "it is that of another machine";
  EXPECT_EQ(*store::ReadShortStream(finder.get(), layer[1].content, 1 << 20), file_);
  EXPECT_EQ(layer[2].hard_link, "file");
  // Once more under the same name.
  EXPECT_TRUE(absl::IsAlreadyExists(Import(bytes)));
}

TEST_F(CheckpointArchiveTest, WhatIsDamagedOrCutOffIsRefusedAndLeavesNothing) {
  const std::string bytes = Export();
  for (size_t i = 0; i < 40; ++i) {
    const std::string cut = bytes.substr(0, i * bytes.size() / 40);
    EXPECT_FALSE(Import(cut).ok()) << cut.size() << " of " << bytes.size();
    EXPECT_THAT(*FindCheckpoints({Store("to")}), IsEmpty());
  }
  for (size_t i = 0; i < 40; ++i) {
    std::string flipped = bytes;
    flipped[i * bytes.size() / 40 + 5] ^= 4;
    const Status status = Import(flipped);
    if (!status.ok()) {
      EXPECT_THAT(*FindCheckpoints({Store("to")}), IsEmpty());
      continue;
    }
    // Bytes that stand for nothing: all that the manifest names was there.
    ASSERT_TRUE(DeleteCheckpoint(Store("to"), *CheckpointName::Parse("mine")).ok());
  }
}

TEST_F(CheckpointArchiveTest, AStrangersArchiveIsRefusedByWhatIsWrong) {
  const std::string head = R"({"version": 1})";
  const auto why = [&](const std::string& bytes) { return Message(Import(bytes)); };
  EXPECT_THAT(why("hello"), testing::Not(IsEmpty()));
  EXPECT_THAT(why(Tar({{"x", "y"}})), HasSubstr("no archive of a checkpoint"));
  EXPECT_THAT(why(Tar({{"stasis-checkpoint.json", "{}"}})), HasSubstr("no archive of a checkpoint"));
  EXPECT_THAT(why(Tar({{"stasis-checkpoint.json", R"({"version": 2})"}})), HasSubstr("newer"));
  EXPECT_THAT(why(Tar({{"stasis-checkpoint.json", head}})), HasSubstr("ends before manifest.json"));
  EXPECT_THAT(why(Tar({{"stasis-checkpoint.json", head}, {"../manifest.json", "x"}})),
              HasSubstr("../manifest.json in the place of manifest.json"));
  const std::string text = ToText(manifest_);
  EXPECT_THAT(why(Tar({{"stasis-checkpoint.json", head}, {"manifest.json", text}, {"manifest.sha256", "0"}})),
              HasSubstr("is not what manifest.sha256 says"));
  const std::vector<std::pair<std::string, std::string>> begin = {
      {"stasis-checkpoint.json", head},
      {"manifest.json", text},
      {"manifest.sha256", ManifestDigestLine(text)}};
  auto files = begin;
  files.push_back({"layer.json", "{}"});
  EXPECT_THAT(why(Tar(files)), HasSubstr("layer.json is not what the manifest says"));
  // Their content is what the manifest says, their order is not.
  Manifest bare = manifest_;
  bare.layer.reset();
  const std::string bare_text = ToText(bare);
  files = {{"stasis-checkpoint.json", head},
           {"manifest.json", bare_text},
           {"manifest.sha256", ManifestDigestLine(bare_text)}};
  for (size_t i = 0; i < images_.size(); ++i)
    files.push_back({"files/image-" + std::to_string(i), images_[i]});
  auto more = files;
  more.push_back({"files/other", ""});
  EXPECT_THAT(why(Tar(more)), HasSubstr("behind its end"));
  std::swap(more[3], more[4]);
  EXPECT_THAT(why(Tar(more)), HasSubstr("in the place of files/image-0"));
  more = files;
  more[3].second += "x";
  EXPECT_THAT(why(Tar(more)), HasSubstr("another size"));
  more[3].second = Random(300'000, 9);
  EXPECT_THAT(why(Tar(more)), HasSubstr("files/image-0 is not what the manifest says"));
  EXPECT_THAT(*FindCheckpoints({Store("to")}), IsEmpty());
  EXPECT_EQ(why(Tar(files)), "");
}

TEST_F(CheckpointArchiveTest, WhatEndsEarlyEndsBothWays) {
  const std::string bytes = Export();
  const auto refuse = [](const Manifest&) { return AlreadyExists("taken"); };
  EXPECT_TRUE(
      absl::IsAlreadyExists(CheckpointImport::Read(From(bytes), Store("to/.store"), refuse, {}).status()));
  EXPECT_FALSE(Exists(Store("to")));
  std::stop_source stop;
  stop.request_stop();
  EXPECT_TRUE(absl::IsCancelled(
      CheckpointImport::Read(From(bytes), Store("to/.store"), Any, stop.get_token()).status()));
  const auto finder = store::PageFinder::Open(Store("from"));
  const auto gone = [](std::string_view) { return Unavailable("the client is gone"); };
  EXPECT_TRUE(absl::IsUnavailable(ExportCheckpoint(manifest_, finder->get(), gone, {})));
  const auto take = [](std::string_view) { return absl::OkStatus(); };
  EXPECT_TRUE(absl::IsCancelled(ExportCheckpoint(manifest_, finder->get(), take, stop.get_token())));
  Manifest lacking = manifest_;
  lacking.files[0].content.root[0] ^= 1;
  EXPECT_TRUE(absl::IsDataLoss(ExportCheckpoint(lacking, finder->get(), take, {})));
}

}  // namespace
}  // namespace stasis::transfer
