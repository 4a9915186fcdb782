#include "store/page_index.h"

#include <gtest/gtest.h>

#include <cstring>
#include <optional>
#include <thread>

#include "linux/files.h"
#include "store/store_files.h"

namespace stasis::store {
namespace {

class PageIndexTest : public testing::Test {
 protected:
  void SetUp() override {
    auto made = TemporaryDirectory::Create("/tmp", "page-index-test-");
    ASSERT_TRUE(made.ok()) << made.status();
    temporary_.emplace(*std::move(made));
    ASSERT_TRUE(OpenStoreFiles(directory()).ok());
  }

  const std::string& directory() const { return temporary_->path(); }

  std::shared_ptr<PageIndex> Open() {
    auto index = PageIndex::Open(directory());
    EXPECT_TRUE(index.ok()) << index.status();
    return index.ok() ? *index : nullptr;
  }

  // Two numbers have the same.
  static PageHash HashOf(uint32_t number) {
    PageHash hash = {};
    const uint64_t spread = (uint64_t{number / 2} + 1) * 0x9e37'79b9'7f4a'7c15;
    std::memcpy(hash.data(), &spread, sizeof spread);
    return hash;
  }

  static bool Has(const PageIndex& index, uint32_t number) {
    return index
        .Find(HashOf(number),
              [&](const PageLocation& location) { return location.pack == 7 && location.entry == number; })
        .has_value();
  }

  std::optional<TemporaryDirectory> temporary_;
};

TEST_F(PageIndexTest, GrowsWithAllItsHints) {
  const auto index = Open();
  uint32_t number = 0;
  while (index->Insert(HashOf(number), {7, number})) ++number;
  EXPECT_GE(number, index->slots() / 2);
  EXPECT_LT(number, index->slots());
  auto lock = PageIndexLock::Take(directory());
  ASSERT_TRUE(lock.ok()) << lock.status();
  const auto larger = GrowPageIndex(directory(), *index);
  ASSERT_TRUE(larger.ok()) << larger.status();
  EXPECT_EQ((*larger)->slots(), 2 * index->slots());
  EXPECT_FALSE(index->IsCurrent());
  EXPECT_TRUE((*larger)->IsCurrent());
  for (uint32_t i = 0; i < number; ++i) ASSERT_TRUE(Has(**larger, i)) << i;
  EXPECT_FALSE(Has(**larger, number));
  EXPECT_TRUE((*larger)->Insert(HashOf(number), {7, number}));
}

TEST_F(PageIndexTest, TwoMappingsTakeInsertionsAtOnce) {
  constexpr uint32_t kEach = 20'000;
  std::vector<std::jthread> threads;
  for (uint32_t first = 0; first < 2; ++first) {
    threads.emplace_back([index = Open(), first] {
      for (uint32_t i = first; i < 2 * kEach; i += 2) EXPECT_TRUE(index->Insert(HashOf(i), {7, i}));
    });
  }
  threads.clear();
  const auto index = Open();
  for (uint32_t i = 0; i < 2 * kEach; ++i) ASSERT_TRUE(Has(*index, i)) << i;
}

}  // namespace
}  // namespace stasis::store
