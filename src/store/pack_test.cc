#include "store/pack.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <optional>

#include "linux/files.h"
#include "store/pack_writer.h"

namespace stasis::store {
namespace {

class PackTest : public testing::Test {
 protected:
  void SetUp() override {
    auto made = TemporaryDirectory::Create("/tmp", "pack-test-");
    ASSERT_TRUE(made.ok()) << made.status();
    temporary_.emplace(*std::move(made));
    auto files = OpenStoreFiles(directory());
    ASSERT_TRUE(files.ok()) << files.status();
    files_ = *std::move(files);
    auto writer = PackWriter::Create(files_.get());
    ASSERT_TRUE(writer.ok()) << writer.status();
    writer_ = *std::move(writer);
    for (uint32_t i = 0; i < kBlockPages + 1; ++i) {
      const std::string page(kPageBytes, static_cast<char>('a' + i % 26));
      ASSERT_TRUE(writer_->Add(PageHasher().Hash(page.data()), page.data()).ok());
    }
  }

  const std::string& directory() const { return temporary_->path(); }

  std::shared_ptr<const Pack> Open() {
    auto pack = Pack::Open(directory(), writer_->id());
    EXPECT_TRUE(pack.ok()) << pack.status();
    return pack.ok() ? *pack : nullptr;
  }

  void Publish() {
    ASSERT_TRUE(writer_->Finish().ok());
    ASSERT_TRUE(writer_->Publish().ok());
  }

  std::optional<TemporaryDirectory> temporary_;
  std::shared_ptr<StoreFiles> files_;
  std::unique_ptr<PackWriter> writer_;
};

TEST_F(PackTest, ReadsItsBlocks) {
  Publish();
  const auto pack = Open();
  ASSERT_EQ(pack->blocks(), 2u);
  EXPECT_EQ(pack->ReadBlock(0)->size(), kBlockPages * kPageBytes);
  EXPECT_EQ(*pack->ReadBlock(1), std::string(kPageBytes, 'a' + kBlockPages % 26));
  EXPECT_TRUE(absl::IsDataLoss(pack->ReadBlock(2).status()));
}

TEST_F(PackTest, AFinishedOneTakesNoMemory) {
  const auto in_use = [] { return ::mallinfo2().uordblks + ::mallinfo2().hblkhd; };
  const std::string page(kPageBytes, 'x');
  const PageHash hash = PageHasher().Hash(page.data());
  const size_t before = in_use();
  if (before == 0) GTEST_SKIP() << "a sanitizer's malloc does not tell";
  while (writer_->pages() < kMaxPackPages) ASSERT_TRUE(writer_->Add(hash, page.data()).ok());
  EXPECT_GE(in_use(), before + kMaxPackPages * sizeof(PageHash) / 2) << "this cannot tell";
  ASSERT_TRUE(writer_->Finish().ok());
  // Of a container of any size there may be as many as it takes.
  EXPECT_LT(in_use(), before + (64 << 10));
}

TEST_F(PackTest, ManyPinItAndOneClaimsIt) {
  Publish();
  auto first = Open();
  auto second = Open();
  const auto collector = Open();
  const auto late = Open();
  EXPECT_TRUE(first->Pin());
  EXPECT_TRUE(second->Pin());
  EXPECT_FALSE(collector->Claim());
  first.reset();
  EXPECT_FALSE(collector->Claim());
  second.reset();
  EXPECT_TRUE(collector->Claim());
  EXPECT_FALSE(late->Pin());
  EXPECT_FALSE(late->Claim());
}

TEST_F(PackTest, OneThatIsGoneIsNotPinned) {
  Publish();
  const auto pack = Open();
  ASSERT_TRUE(files_->Remove(writer_->id()).ok());
  EXPECT_FALSE(pack->Pin());
  EXPECT_TRUE(pack->ReadBlock(0).ok());
  EXPECT_TRUE(absl::IsNotFound(Pack::Open(directory(), writer_->id()).status()));
}

TEST_F(PackTest, ALivingWritersIsNotTakenForADeadOnes) {
  const std::string partial = PacksPath(directory()) + "/" + PartialPackName(writer_->id());
  ASSERT_TRUE(RemovePartialPacks(directory()).ok());
  EXPECT_TRUE(Exists(partial));
  {
    const auto finished = writer_->Finish();
    ASSERT_TRUE(finished.ok()) << finished.status();
    ASSERT_TRUE(RemovePartialPacks(directory()).ok());
    EXPECT_TRUE(Exists(partial));
  }
  ASSERT_TRUE(RemovePartialPacks(directory()).ok());
  EXPECT_FALSE(Exists(partial));
}

}  // namespace
}  // namespace stasis::store
