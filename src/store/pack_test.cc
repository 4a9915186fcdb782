#include "store/pack.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <cstring>
#include <functional>
#include <optional>
#include <random>
#include <vector>

#include "linux/files.h"
#include "store/pack_format.h"
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

  void Add(const std::string& page) {
    ASSERT_TRUE(writer_->Add(PageHasher().Hash(page.data()), page.data()).ok());
  }

  // The published pack, changed, and its sum made right again.
  void Change(const std::function<void(std::string* bytes, const PackFooter& footer)>& change) {
    const std::string path = PacksPath(directory()) + "/" + PackName(writer_->id());
    auto bytes = ReadFile(path);
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    PackFooter footer;
    const size_t at = bytes->size() - sizeof footer;
    std::memcpy(&footer, bytes->data() + at, sizeof footer);
    change(&*bytes, footer);
    Sha256 sha256;
    sha256.Update({bytes->data() + footer.index_offset, at - footer.index_offset});
    sha256.Update({bytes->data() + at, offsetof(PackFooter, index_hash)});
    sha256.Update({bytes->data(), sizeof(PackHeader)});
    footer.index_hash = sha256.FinishBytes();
    std::memcpy(bytes->data() + at, &footer, sizeof footer);
    ASSERT_TRUE(WriteFileAtomically(path, *bytes).ok());
  }
  void ChangeVersion(uint32_t version) {
    Change([&](std::string* bytes, const PackFooter&) {
      std::memcpy(bytes->data() + offsetof(PackHeader, version), &version, sizeof version);
    });
  }
  std::vector<uint32_t> Codecs() {
    std::vector<uint32_t> codecs;
    Change([&](std::string* bytes, const PackFooter& footer) {
      for (uint32_t i = 0; i < footer.blocks; ++i) {
        PackBlock block;
        std::memcpy(&block,
                    bytes->data() + footer.index_offset + footer.pages * sizeof(PageHash) + i * sizeof block,
                    sizeof block);
        codecs.push_back(block.codec);
      }
    });
    return codecs;
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

// Pages of what programs hold: LZ4. Text again and again: zstd, which makes that far smaller. Random: as it
// is.
TEST_F(PackTest, EachBlockHasTheCodecThatSuitsIt) {
  while (writer_->pages() < 2 * kBlockPages) Add(std::string(kPageBytes, 'x'));
  std::mt19937_64 random(1);
  std::string pages;
  for (uint32_t i = 0; i < 2 * kBlockPages * kPageBytes / 8; ++i) {
    uint64_t word = random();
    if (i < kBlockPages * kPageBytes / 8 && i % 2 == 0) word = 0x7f1234560000 + i;
    pages.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  for (size_t at = 0; at < pages.size(); at += kPageBytes) Add(pages.substr(at, kPageBytes));
  Publish();
  const auto pack = Open();
  ASSERT_EQ(pack->blocks(), 4u);
  EXPECT_EQ(Codecs(),
            (std::vector<uint32_t>{PackBlock::kZstd, PackBlock::kZstd, PackBlock::kLz4, PackBlock::kRaw}));
  EXPECT_EQ(*pack->ReadBlock(2) + *pack->ReadBlock(3), pages);
}

TEST_F(PackTest, OneOfTheVersionBeforeIsRead) {
  Publish();
  ChangeVersion(2);
  const auto pack = Open();
  ASSERT_NE(pack, nullptr);
  EXPECT_EQ(*pack->ReadBlock(1), std::string(kPageBytes, 'a' + kBlockPages % 26));
  ChangeVersion(1);
  EXPECT_TRUE(absl::IsDataLoss(Pack::Open(directory(), writer_->id()).status()));
  ChangeVersion(kPackVersion + 1);
  EXPECT_TRUE(absl::IsUnimplemented(Pack::Open(directory(), writer_->id()).status()));
}

TEST_F(PackTest, ABlockOfAnUnknownCodecOrOfAnotherSizeIsDamaged) {
  for (const uint32_t codec : {PackBlock::kLz4 + 1u, uint32_t{PackBlock::kLz4}}) {
    SetUp();
    Publish();
    Change([&](std::string* bytes, const PackFooter& footer) {
      PackBlock block;
      char* at = bytes->data() + footer.index_offset + footer.pages * sizeof(PageHash);
      std::memcpy(&block, at, sizeof block);
      block.codec = codec;
      std::memcpy(at, &block, sizeof block);
    });
    EXPECT_TRUE(absl::IsDataLoss(Open()->ReadBlock(0).status()));
  }
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
