#include "linux/memory_mapping.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

namespace stasis {
namespace {

TEST(MemoryMappingTest, LinesOfMapsAreRead) {
  auto vdso = ParseMemoryMapping("7ffd0-7ffd2 r-xp 00000000 00:00 0                          [vdso]");
  ASSERT_TRUE(vdso);
  EXPECT_EQ(vdso->range.begin, 0x7ffd0u);
  EXPECT_EQ(vdso->range.size(), 2u);
  EXPECT_FALSE(vdso->shared);
  EXPECT_EQ(vdso->name, "[vdso]");
  auto file = ParseMemoryMapping("7f00-7f01 rw-s 00001000 fe:00 12 /a b/[vdso] (deleted)");
  ASSERT_TRUE(file);
  EXPECT_TRUE(file->shared);
  EXPECT_EQ(file->name, "/a b/[vdso] (deleted)");
  auto anonymous = ParseMemoryMapping("7f0000000000-7f0000001000 rw-p 00000000 00:00 0 ");
  ASSERT_TRUE(anonymous);
  EXPECT_EQ(anonymous->name, "");
}

TEST(MemoryMappingTest, OtherLinesOfSmapsAreNone) {
  for (const char* line : {"", "Size:                  4 kB", "Anonymous:             0 kB",
                           "VmFlags: rd wr mr", "7f00-", "7f00-7f01", "FilePmdMapped:         0 kB"}) {
    EXPECT_FALSE(ParseMemoryMapping(line)) << line;
  }
}

TEST(MemoryMappingTest, OurOwnMappingsAreReadByAddress) {
  auto mappings = ReadMemoryMappings(::getpid());
  ASSERT_TRUE(mappings.ok()) << mappings.status();
  const auto here = reinterpret_cast<uint64_t>(&mappings);
  EXPECT_TRUE(std::any_of(mappings->begin(), mappings->end(), [&](const MemoryMapping& mapping) {
    return here - mapping.range.begin < mapping.range.size();
  }));
  EXPECT_TRUE(std::is_sorted(mappings->begin(), mappings->end(), [](const auto& one, const auto& other) {
    return one.range.begin < other.range.begin;
  }));
  EXPECT_TRUE(absl::IsNotFound(ReadMemoryMappings(0x3fffffff).status()));
}

}  // namespace
}  // namespace stasis
