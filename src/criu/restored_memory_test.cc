#include "criu/restored_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <map>
#include <optional>

#include "criu/image_file.h"
#include "criu/mm_image.h"
#include "criu/pagemap_image.h"
#include "linux/files.h"
#include "linux/pagemap.h"

namespace stasis::criu {
namespace {

constexpr uint64_t kBase = 0x10000;  // of the first page

// Images of processes whose mappings are of a few pages, numbered from kBase on.
class RestoredMemoryTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_.emplace(*TemporaryDirectory::Create("/tmp", "stasis-restored-memory-"));
    images_ = *OpenDirectory(directory_->path());
  }

  static uint64_t Address(uint64_t page) { return kBase + page * kPageSize; }

  void Map(pid_t process, uint64_t first, uint64_t end, uint32_t status = kVmaRegular | kVmaAnonymousPrivate,
           uint32_t prot = PROT_READ | PROT_WRITE, uint32_t flags = MAP_PRIVATE | MAP_ANONYMOUS) {
    images::VmaEntry* mapping = mm_[process].add_vmas();
    mapping->set_start(Address(first));
    mapping->set_end(Address(end));
    mapping->set_prot(prot);
    mapping->set_flags(flags);
    mapping->set_status(status);
  }
  void Save(pid_t process, uint64_t first, uint64_t end) {
    saved_[process].pages_id = static_cast<uint32_t>(process + 100);
    saved_[process].runs.push_back({Address(first), Address(end)});
  }
  void Write(const std::string& name, uint32_t magic, const google::protobuf::MessageLite& message) {
    ImageWriter image(kCommonMagic, magic);
    image.Add(message);
    ASSERT_TRUE(WriteFileAtomically(directory_->path() + "/" + name, image.bytes()).ok());
  }
  void Thread(pid_t thread, std::optional<uint64_t> sequence) {
    images::CoreEntry core;
    if (sequence) {
      core.mutable_thread_core()->mutable_rseq_entry()->set_rseq_abi_pointer(*sequence);
      core.mutable_thread_core()->mutable_rseq_entry()->set_rseq_abi_size(32);
    }
    Write("core-" + std::to_string(thread) + ".img", 0x55053847, core);
  }
  StatusOr<std::vector<ProcessMemory>> Take() {
    for (const auto& [process, mm] : mm_) Write(ImageName("mm", process), 0x57492820, mm);
    for (const auto& [process, pagemap] : saved_) {
      const std::string name = "/pagemap-" + std::to_string(process) + ".img";
      EXPECT_TRUE(WriteFileAtomically(directory_->path() + name, "").ok());
      EXPECT_TRUE(pagemap.Write(images_.get(), process).ok());
    }
    return TakePrivateMemory(images_.get());
  }
  // "FIRST-END@OFFSET", all in pages.
  static std::string Text(const std::vector<SavedPages>& pages) {
    std::string text;
    for (const auto& [range, offset, of_file] : pages) {
      text += (text.empty() ? "" : " ") + std::to_string((range.begin - kBase) / kPageSize) + "-" +
              std::to_string((range.end - kBase) / kPageSize) + "@" + std::to_string(offset / kPageSize) +
              (of_file ? "f" : "");
    }
    return text;
  }
  std::string Left(pid_t process) {
    std::string text;
    const PagemapImage pagemap = *PagemapImage::Read(images_.get(), process);
    for (const AddressRange& run : pagemap.runs) {
      text += (text.empty() ? "" : " ") + std::to_string((run.begin - kBase) / kPageSize) + "-" +
              std::to_string((run.end - kBase) / kPageSize);
    }
    return text;
  }

  std::optional<TemporaryDirectory> directory_;
  UniqueFd images_;
  std::map<pid_t, images::MmEntry> mm_;
  std::map<pid_t, PagemapImage> saved_;
};

TEST_F(RestoredMemoryTest, WhatIsNoPlainPageIsLeftToCriu) {
  Map(1, 0, 4);
  Map(1, 4, 6, kVmaRegular | kVmaFilePrivate);
  Map(1, 6, 8, kVmaRegular | kVmaAnonymousPrivate, PROT_READ);
  Map(1, 8, 10, kVmaRegular | kVmaVdso | kVmaAnonymousPrivate);
  Map(1, 10, 12, kVmaRegular | kVmaAnonymousPrivate, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_HUGETLB);
  Map(1, 12, 13, kVmaRegular | kVmaStack | kVmaAnonymousPrivate);
  // CRIU's runs do not end where mappings do.
  Save(1, 1, 3);
  Save(1, 3, 7);
  Save(1, 8, 13);
  const auto taken = Take();
  ASSERT_TRUE(taken.ok()) << taken.status();
  ASSERT_EQ(taken->size(), 1u);
  EXPECT_EQ(taken->front().process, 1);
  EXPECT_EQ(taken->front().pages_file, "pages-101.img");
  EXPECT_EQ(Text(taken->front().taken), "1-3@0 3-4@2 4-6@3f 12-13@10");
  EXPECT_EQ(Text(taken->front().of_criu), "6-7@5 8-12@6");
  EXPECT_EQ(Left(1), "6-7 8-12");
}

TEST_F(RestoredMemoryTest, WhatAForkMayHaveSharedIsLeftToCriu) {
  Map(1, 0, 4);
  Map(1, 4, 6);
  Map(2, 0, 3);
  Map(2, 6, 8);
  Save(1, 0, 6);
  Save(2, 0, 2);
  Save(2, 6, 7);
  const auto taken = Take();
  ASSERT_TRUE(taken.ok()) << taken.status();
  ASSERT_EQ(taken->size(), 2u);
  EXPECT_EQ(Text((*taken)[0].taken), "4-6@4");
  EXPECT_EQ(Text((*taken)[1].taken), "6-7@2");
  EXPECT_EQ(Left(1), "0-4");
  EXPECT_EQ(Left(2), "0-2");
}

TEST_F(RestoredMemoryTest, RestartableSequencesAreLeftToCriu) {
  Map(1, 0, 8);
  Save(1, 0, 8);
  Thread(1, Address(2) + 64);
  Thread(5, Address(6) - 16);  // across two pages
  Thread(6, std::nullopt);
  const auto taken = Take();
  ASSERT_TRUE(taken.ok()) << taken.status();
  ASSERT_EQ(taken->size(), 1u);
  EXPECT_EQ(Text(taken->front().taken), "0-2@0 3-5@3 7-8@7");
  EXPECT_EQ(Left(1), "2-3 5-7");
}

TEST_F(RestoredMemoryTest, CriuIsLeftOneRunAtLeast) {
  Map(1, 0, 2);
  Save(1, 0, 2);
  const auto taken = Take();
  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_EQ(taken->size(), 0u);
  EXPECT_EQ(Left(1), "0-2");
}

TEST_F(RestoredMemoryTest, ImagesThatAreNotCriusAreRefused) {
  Map(1, 0, 2);
  Save(1, 0, 2);
  ASSERT_TRUE(Take().ok());
  ASSERT_TRUE(WriteFileAtomically(directory_->path() + "/pagemap-1.img", "junk").ok());
  EXPECT_TRUE(absl::IsDataLoss(TakePrivateMemory(images_.get()).status()));
  Save(1, 1, 2);  // runs that overlap
  EXPECT_TRUE(absl::IsDataLoss(Take().status()));
  saved_.clear();
  Save(1, 0, 2);
  ASSERT_TRUE(Take().ok());
  Map(1, 1, 2);  // mappings that overlap
  EXPECT_TRUE(absl::IsDataLoss(Take().status()));
  mm_[1].mutable_vmas()->RemoveLast();
  ASSERT_TRUE(Take().ok());
  Thread(1, UINT64_MAX - 5);
  EXPECT_TRUE(absl::IsDataLoss(Take().status()));
}

}  // namespace
}  // namespace stasis::criu
