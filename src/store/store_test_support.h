// A store in a directory of its own, for tests, and what they put into it.
#pragma once

#include <fcntl.h>

#include <cstring>
#include <filesystem>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "linux/files.h"
#include "store/collector.h"
#include "store/stream_reader.h"
#include "store/writer.h"

namespace stasis::store {

// Of which nothing is shared but by another with the same seed.
inline std::string Random(size_t pages, unsigned seed) {
  std::mt19937_64 random(seed);
  std::string bytes(pages * kPageBytes, '\0');
  for (size_t i = 0; i < bytes.size(); i += 8) {
    const uint64_t word = random();
    std::memcpy(bytes.data() + i, &word, 8);
  }
  return bytes;
}

class StoreTest : public testing::Test {
 protected:
  void SetUp() override {
    auto made = TemporaryDirectory::Create("/tmp", "store-test-");
    ASSERT_TRUE(made.ok()) << made.status();
    temporary_.emplace(*std::move(made));
    store_ = temporary_->path() + "/store";
  }

  StreamId Put(std::string_view bytes) {
    auto writer = Writer::Start(store_);
    EXPECT_TRUE(writer.ok()) << writer.status();
    const StreamId stream = PutBy(writer->get(), bytes);
    const Status committed = (*writer)->Commit();
    EXPECT_TRUE(committed.ok()) << committed;
    stored_ = (*writer)->stored_bytes();
    new_pages_ = (*writer)->new_pages();
    return stream;
  }

  static StreamId PutBy(Writer* writer, std::string_view bytes) {
    Status added = writer->Append(bytes);
    EXPECT_TRUE(added.ok()) << added;
    auto stream = writer->EndStream();
    EXPECT_TRUE(stream.ok()) << stream.status();
    return stream.ok() ? *stream : StreamId{};
  }

  StatusOr<std::string> Get(const StreamId& stream) {
    auto finder = PageFinder::Open(store_);
    if (!finder.ok()) return finder.status();
    const std::string path = temporary_->path() + "/out";
    std::filesystem::remove(path);
    auto file = OpenFile(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (!file.ok()) return file.status();
    STASIS_RETURN_IF_ERROR(StreamReader(finder->get()).Read(stream, file->get(), nullptr, {}));
    return ReadFile(path, 1 << 30);
  }

  StatusOr<Collected> Collect(std::vector<StreamId> keep) {
    return CollectGarbage(store_, [keep] { return keep; }, {});
  }

  std::vector<PackId> Packs() { return *ListPacks(store_); }
  std::string PackPath(PackId id) { return PacksPath(store_) + "/" + PackName(id); }

  std::optional<TemporaryDirectory> temporary_;
  std::string store_;
  uint64_t stored_ = 0;
  uint64_t new_pages_ = 0;
};

}  // namespace stasis::store
