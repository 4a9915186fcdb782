#include "criu/memory_images.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "criu_rpc/images.pb.h"
#include "linux/files.h"

namespace stasis::criu {
namespace {

TEST(MemoryImagesTest, MappingsWithoutTwinAreTheFlaggedPrivateOnes) {
  const auto ranges = MappingsWithoutTwin(
      "7f0000000000-7f0000001000 rw-p 00000000 00:00 0\nSize: 4 kB\nVmFlags: rd wr mr mw me ac sd \n"
      "7f0000001000-7f0000003000 rw-p 00000000 00:00 0 [anon: dc ]\nVmFlags: rd wr dc \n"
      "7f0000003000-7f0000004000 rw-s 00000000 00:01 9 /dev/zero (deleted)\nVmFlags: rd wr sh dc \n"
      "7f0000005000-7f0000006000 rw-p 00000000 00:00 0\nVmFlags: wf rd\n"
      "7f0000200000-7f0000400000 rw-p 00000000 00:0f 5 /anon_hugepage (deleted)\nVmFlags: rd ht \n");
  ASSERT_EQ(ranges.size(), 3u);
  EXPECT_EQ(ranges[0].begin, 0x7f0000001000u);
  EXPECT_EQ(ranges[0].end, 0x7f0000003000u);
  EXPECT_EQ(ranges[1].begin, 0x7f0000005000u);
  EXPECT_EQ(ranges[2].size(), 0x200000u);
}

// Images of process 7 as CRIU leaves them, and our own memory as its own or its twin's.
class AddPrivateMemoryTest : public testing::Test {
 protected:
  static constexpr size_t kPages = 8;

  void SetUp() override {
    if (!KernelHasPagemapScan()) GTEST_SKIP() << "Linux before 6.7";
    directory_.emplace(*TemporaryDirectory::Create("/tmp", "stasis-memory-images-"));
    images_ = *OpenDirectory(directory_->path());
    pagemap_ = *OpenFile("/proc/self/pagemap", O_RDONLY);
    mem_ = *OpenFile("/proc/self/mem", O_RDONLY);
    memory_ = static_cast<char*>(
        ::mmap(nullptr, kPages * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (size_t page : {1, 2, 5}) memory_[page * kPageSize] = static_cast<char>('0' + page);
  }
  void TearDown() override {
    if (memory_ != nullptr) ::munmap(memory_, kPages * kPageSize);
  }
  uint64_t Address(size_t page) const { return reinterpret_cast<uint64_t>(memory_ + page * kPageSize); }

  static void Append(std::string* image, const google::protobuf::MessageLite& message) {
    const std::string bytes = message.SerializeAsString();
    const auto size = static_cast<uint32_t>(bytes.size());
    image->append(reinterpret_cast<const char*>(&size), sizeof size);
    *image += bytes;
  }
  void WriteImage(const std::string& name, uint32_t magic,
                  const std::vector<const google::protobuf::MessageLite*>& messages) {
    const uint32_t magics[] = {0x54564319, magic};
    std::string image(reinterpret_cast<const char*>(magics), sizeof magics);
    for (const auto* message : messages) Append(&image, *message);
    ASSERT_TRUE(WriteFileAtomically(directory_->path() + "/" + name, image).ok());
  }
  // One private mapping, and `saved` of its pages by CRIU, each full of 'c'.
  void WriteImages(uint64_t advice, const std::vector<size_t>& saved) {
    images::MmEntry mm;
    images::VmaEntry* mapping = mm.add_vmas();
    mapping->set_start(Address(0));
    mapping->set_end(Address(kPages));
    mapping->set_prot(PROT_READ | PROT_WRITE);
    mapping->set_flags(MAP_PRIVATE | MAP_ANONYMOUS);
    mapping->set_status(1 | 1 << 9);
    mapping->set_madv(advice);
    WriteImage("mm-7.img", 0x57492820, {&mm});
    images::PagemapHead head;
    head.set_pages_id(3);
    std::vector<images::PagemapEntry> entries(saved.size());
    std::vector<const google::protobuf::MessageLite*> messages = {&head};
    for (size_t i = 0; i < saved.size(); ++i) {
      entries[i].set_vaddr(Address(saved[i]));
      entries[i].set_compat_nr_pages(1);
      entries[i].set_flags(4);
      messages.push_back(&entries[i]);
    }
    WriteImage("pagemap-7.img", 0x56084025, messages);
    ASSERT_TRUE(
        WriteFileAtomically(directory_->path() + "/pages-3.img", std::string(saved.size() * kPageSize, 'c'))
            .ok());
  }
  Status Add(const std::vector<AddressRange>& shown, std::stop_token cancel = {}, bool twin = true) {
    pages_.clear();
    const auto take = [&](std::string_view pages) {
      pages_ += pages;
      return absl::OkStatus();
    };
    auto file = AddPrivateMemory(images_.get(), 7, {mem_.get(), pagemap_.get(), twin}, shown, take, cancel);
    if (file.ok()) {
      EXPECT_EQ(*file, "pages-3.img");
    }
    return file.status();
  }
  // The first byte of each page.
  std::string Pages() {
    std::string first;
    for (size_t at = 0; at < pages_.size(); at += kPageSize) first += pages_[at];
    return first;
  }

  std::optional<TemporaryDirectory> directory_;
  UniqueFd images_, pagemap_, mem_;
  std::string pages_;
  char* memory_ = nullptr;
};

TEST_F(AddPrivateMemoryTest, PagesOfTheTwinStandBetweenThoseOfCriuByAddress) {
  WriteImages(0, {3, 7});
  // CRIU was shown pages 3 to 7 but has found two; the twin's page 5 is not asked for.
  ASSERT_TRUE(Add({{Address(3), Address(kPages)}}).ok());
  EXPECT_EQ(Pages(), "12cc");
  WriteImages(0, {});
  ASSERT_TRUE(Add({}).ok());
  EXPECT_EQ(Pages(), "125");
}

TEST_F(AddPrivateMemoryTest, AMappingThatNoTwinHasMustHaveBeenShown) {
  WriteImages(1 << MADV_DONTFORK, {});
  EXPECT_EQ(Add({}).code(), StatusCode::kAborted);
  EXPECT_EQ(Add({{Address(0), Address(4)}}).code(), StatusCode::kAborted);
  EXPECT_TRUE(Add({{Address(0), Address(kPages)}}).ok());
  EXPECT_EQ(Pages(), "");
  // The process itself has it.
  EXPECT_TRUE(Add({}, {}, /*twin=*/false).ok());
  EXPECT_EQ(Pages(), "125");
}

TEST_F(AddPrivateMemoryTest, WhatHasDiedHasNoPagesToAdd) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(::pause());
  const std::string proc = "/proc/" + std::to_string(child);
  pagemap_ = *OpenFile(proc + "/pagemap", O_RDONLY);
  mem_ = *OpenFile(proc + "/mem", O_RDONLY);
  WriteImages(0, {});
  EXPECT_TRUE(Add({}).ok());
  EXPECT_EQ(Pages(), "125");
  ::kill(child, SIGKILL);
  EXPECT_EQ(::waitpid(child, nullptr, 0), child);
  WriteImages(0, {});
  EXPECT_EQ(Add({}).code(), StatusCode::kNotFound);
}

TEST_F(AddPrivateMemoryTest, WhatCriuHasSavedThoughItWasHiddenIsAnError) {
  WriteImages(0, {2});
  EXPECT_EQ(Add({}).code(), StatusCode::kDataLoss);
}

TEST_F(AddPrivateMemoryTest, BrokenImagesAreRefused) {
  WriteImages(0, {});
  for (const char* name : {"mm-7.img", "pagemap-7.img"}) {
    const std::string path = directory_->path() + "/" + name;
    const std::string whole = *ReadFile(path);
    for (size_t size = 0; size < whole.size(); ++size) {
      ASSERT_TRUE(WriteFileAtomically(path, whole.substr(0, size)).ok());
      // After the magic numbers, or after the head of a pagemap, a file may end.
      const Status status = Add({});
      if (status.ok()) {
        EXPECT_STREQ(name, "pagemap-7.img");
      } else {
        EXPECT_EQ(status.code(), StatusCode::kDataLoss) << name << " " << size;
      }
    }
    ASSERT_TRUE(WriteFileAtomically(path, whole).ok());
  }
}

TEST_F(AddPrivateMemoryTest, ItCanBeCancelled) {
  WriteImages(0, {});
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(Add({}, stop.get_token()).code(), StatusCode::kCancelled);
}

}  // namespace
}  // namespace stasis::criu
