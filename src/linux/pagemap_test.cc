#include "linux/pagemap.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include "linux/files.h"

namespace stasis {
namespace {

class Memory {
 public:
  explicit Memory(size_t pages, int file = -1)
      : size_(pages * kPageSize),
        at_(static_cast<char*>(::mmap(nullptr, size_, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | (file < 0 ? MAP_ANONYMOUS : 0), file, 0))) {}
  ~Memory() { ::munmap(at_, size_); }
  char* page(size_t number) { return at_ + number * kPageSize; }
  uint64_t address(size_t number) { return reinterpret_cast<uint64_t>(page(number)); }
  AddressRange all() { return {address(0), address(0) + size_}; }

 private:
  size_t size_;
  char* at_;
};

std::vector<AddressRange> Own(Memory& memory) {
  auto pagemap = OpenFile("/proc/self/pagemap", O_RDONLY);
  auto pages = OwnPages(pagemap->get(), memory.all());
  EXPECT_TRUE(pages.ok()) << pages.status();
  return pages.ok() ? *pages : std::vector<AddressRange>{};
}

TEST(PagemapTest, WrittenPagesAreFoundAsRuns) {
  if (!KernelHasPagemapScan()) GTEST_SKIP() << "Linux before 6.7";
  Memory memory(4096);
  ::madvise(memory.page(0), memory.all().size(), MADV_NOHUGEPAGE);
  EXPECT_TRUE(Own(memory).empty());
  for (size_t page : {1, 2, 3, 9}) *memory.page(page) = 1;
  const auto pages = Own(memory);
  ASSERT_EQ(pages.size(), 2u);
  EXPECT_EQ(pages[0].begin, memory.address(1));
  EXPECT_EQ(pages[0].end, memory.address(4));
  EXPECT_EQ(pages[1].begin, memory.address(9));
  EXPECT_EQ(pages[1].size(), kPageSize);
}

TEST(PagemapTest, MoreRunsThanOneAnswerHolds) {
  if (!KernelHasPagemapScan()) GTEST_SKIP() << "Linux before 6.7";
  Memory memory(4096);
  ::madvise(memory.page(0), memory.all().size(), MADV_NOHUGEPAGE);
  for (size_t page = 0; page < 4096; page += 2) *memory.page(page) = 1;
  EXPECT_EQ(Own(memory).size(), 2048u);
}

TEST(PagemapTest, PagesOfTheFileAreNotOurOwn) {
  if (!KernelHasPagemapScan()) GTEST_SKIP() << "Linux before 6.7";
  auto file = OpenFile("/proc/self/exe", O_RDONLY);
  Memory memory(8, file->get());
  static_cast<void>(*const_cast<volatile char*>(memory.page(2)));
  *memory.page(5) = 1;
  const auto pages = Own(memory);
  ASSERT_EQ(pages.size(), 1u);
  EXPECT_EQ(pages[0].begin, memory.address(5));
}

}  // namespace
}  // namespace stasis
