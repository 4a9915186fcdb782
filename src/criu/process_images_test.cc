#include "criu/process_images.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <map>

#include "criu/image_file.h"
#include "criu_rpc/images.pb.h"

namespace stasis::criu {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr uint32_t kPstree = 0x50273030, kCore = 0x55053847, kIds = 0x54432030, kFs = 0x51403912,
                   kMm = 0x57492820, kPagemap = 0x56084025, kFiles = 0x56303138, kMemfd = 0x48453499,
                   kFdinfo = 0x56213732;
constexpr uint32_t kRegularArea = 1 << 0, kHeapArea = 1 << 5, kFilePrivateArea = 1 << 6,
                   kFileSharedArea = 1 << 7, kSharedArea = 1 << 8, kPrivateArea = 1 << 9,
                   kMemfdArea = 1 << 14, kGuardArea = 1 << 16;

// A checkpoint of one process, 1 ("sh"), whose images a test completes.
class ProcessImagesTest : public ::testing::Test {
 protected:
  ProcessImagesTest() {
    images::PstreeEntry process;
    process.set_pid(1);
    process.set_ppid(0);
    process.set_pgid(1);
    process.set_sid(1);
    process.add_threads(1);
    process.add_threads(2);
    Put("pstree.img", kPstree, process);
    images::CoreEntry core;
    core.mutable_tc()->set_task_state(1);
    core.mutable_tc()->set_comm("sh\x1b");
    Put("core-1.img", kCore, core);
    images::TaskKobjIdsEntry ids;
    ids.set_files_id(4);
    Put("ids-1.img", kIds, ids);
    Append("files.img", kFiles, "");
    Append("fdinfo-4.img", kFdinfo, "");
  }

  void Append(const std::string& name, uint32_t magic, const std::string& messages) {
    std::string& image = images_[name];
    if (image.empty()) image = ImageWriter(kCommonMagic, magic).bytes();
    image += messages;
  }
  void Put(const std::string& name, uint32_t magic, const google::protobuf::MessageLite& message) {
    ImageWriter writer(kCommonMagic, magic);
    writer.Add(message);
    Append(name, magic, writer.bytes().substr(8));
  }
  // Opened as descriptor `id`.
  void AddFile(images::FileEntry entry, uint32_t type, uint32_t id) {
    entry.set_type(type);
    entry.set_id(id);
    Put("files.img", kFiles, entry);
    images::FdinfoEntry descriptor;
    descriptor.set_id(id);
    descriptor.set_flags(0);
    descriptor.set_type(type);
    descriptor.set_fd(id);
    Put("fdinfo-4.img", kFdinfo, descriptor);
  }
  void AddPages(const std::string& name, const std::vector<AddressRange>& ranges) {
    images::PagemapHead head;
    head.set_pages_id(1);
    Put(name, kPagemap, head);
    for (const AddressRange& range : ranges) {
      images::PagemapEntry entry;
      entry.set_vaddr(range.begin);
      entry.set_compat_nr_pages(0);
      entry.set_nr_pages(range.size() / kPageSize);
      entry.set_flags(4);
      Put(name, kPagemap, entry);
    }
  }
  static void AddMapping(images::MmEntry& mm, AddressRange range, uint32_t status, uint64_t id = 0,
                         uint64_t offset = 0) {
    images::VmaEntry* mapping = mm.add_vmas();
    mapping->set_start(range.begin);
    mapping->set_end(range.end);
    mapping->set_status(status | kRegularArea);
    mapping->set_shmid(id);
    mapping->set_pgoff(offset);
    mapping->set_prot(PROT_READ | PROT_WRITE);
    mapping->set_flags((status & (kSharedArea | kFileSharedArea)) != 0 ? MAP_SHARED : MAP_PRIVATE);
  }

  StatusOr<ProcessImages> Read() {
    return ProcessImages::Read([this](const std::string& name, size_t limit) -> StatusOr<std::string> {
      const auto image = images_.find(name);
      if (image == images_.end()) return NotFound(name);
      if (image->second.size() > limit) return MakeError(StatusCode::kResourceExhausted, name);
      return image->second;
    });
  }
  StatusOr<SavedMemory> ReadMemory() {
    auto images = Read();
    if (!images.ok()) return images.status();
    return images->Memory(images->processes().front());
  }
  std::map<uint32_t, OpenFile> ReadFiles() {
    auto images = Read();
    EXPECT_TRUE(images.ok()) << images.status();
    auto descriptors = images->Descriptors(images->processes().front());
    EXPECT_TRUE(descriptors.ok()) << descriptors.status();
    std::map<uint32_t, OpenFile> files;
    for (const SavedDescriptor& one : *descriptors) files[one.fd] = one.file;
    return files;
  }

  std::map<std::string, std::string> images_;
};

TEST_F(ProcessImagesTest, ReadsTheProcessesAndWhereTheyAre) {
  images::FileEntry directory;
  directory.mutable_reg()->set_name("/srv");
  directory.mutable_reg()->set_flags(0);
  directory.mutable_reg()->set_pos(0);
  AddFile(directory, 1, 9);
  images::FsEntry fs;
  fs.set_cwd_id(9);
  fs.set_root_id(77);
  Put("fs-1.img", kFs, fs);
  auto images = Read();
  ASSERT_TRUE(images.ok()) << images.status();
  ASSERT_THAT(images->processes(), SizeIs(1));
  const SavedProcess& init = images->processes().front();
  EXPECT_EQ(init.name, "sh\x1b") << "bytes, for others to make fit";
  EXPECT_EQ(init.threads, 2u);
  EXPECT_EQ(init.state, "running");
  EXPECT_EQ(images->PlacesOf(init)->working_directory, "/srv");
  EXPECT_EQ(images->PlacesOf(init)->root_directory, "") << "a file that is not there";
  EXPECT_THAT(images->Memory(init)->mappings, IsEmpty()) << "without images of it, as a zombie is";
}

TEST_F(ProcessImagesTest, FilesSayWhatTheyAre) {
  images::FileEntry file;
  file.mutable_reg()->set_name("/var/log/x");
  file.mutable_reg()->set_flags(O_WRONLY | O_APPEND);
  file.mutable_reg()->set_pos(17);
  AddFile(file, 1, 3);
  file.mutable_reg()->set_mode(S_IFDIR | 0755);
  AddFile(file, 1, 4);
  images::FileEntry pipe;
  pipe.mutable_pipe()->set_pipe_id(5);
  pipe.mutable_pipe()->set_flags(O_RDONLY);
  AddFile(pipe, 2, 5);
  images::FileEntry fifo;
  fifo.mutable_fifo()->set_pipe_id(6);
  fifo.mutable_fifo()->set_regf_id(3);
  AddFile(fifo, 3, 6);
  AddFile({}, 6, 7);
  AddFile({}, 999, 8);
  images::FileEntry memory;
  memory.mutable_memfd()->set_flags(O_RDWR);
  memory.mutable_memfd()->set_pos(0);
  memory.mutable_memfd()->set_inode_id(1);
  AddFile(memory, 18, 9);
  images::MemfdInodeEntry inode;
  inode.set_inode_id(1);
  inode.set_name("scratch");
  inode.set_shmid(40);
  Put("memfd.img", kMemfd, inode);

  auto files = ReadFiles();
  EXPECT_EQ(files[3].kind + files[3].name + files[3].access, "file/var/log/xw");
  EXPECT_EQ(files[3].position, 17u);
  EXPECT_EQ(files[4].kind, "directory");
  EXPECT_EQ(files[5].kind + files[5].name + files[5].access, "pipepipe:[5]r");
  EXPECT_EQ(files[6].kind + files[6].name, "fifo/var/log/x");
  EXPECT_EQ(files[7].kind, "eventfd");
  EXPECT_EQ(files[8].kind, "unknown");
  EXPECT_EQ(files[9].kind + files[9].name + files[9].access, "memfdscratchrw");
}

TEST_F(ProcessImagesTest, SocketsSayTheirAddressesAndStates) {
  images::FileEntry tcp;
  tcp.mutable_isk()->set_family(AF_INET);
  tcp.mutable_isk()->set_type(SOCK_STREAM);
  tcp.mutable_isk()->set_proto(IPPROTO_TCP);
  tcp.mutable_isk()->set_state(1);
  tcp.mutable_isk()->set_src_port(80);
  tcp.mutable_isk()->set_dst_port(4711);
  tcp.mutable_isk()->add_src_addr(htonl(0x0a000001));
  tcp.mutable_isk()->add_dst_addr(htonl(0x0a000002));
  AddFile(tcp, 4, 1);
  images::FileEntry six = tcp;
  six.mutable_isk()->set_family(AF_INET6);
  six.mutable_isk()->set_state(10);
  six.mutable_isk()->set_dst_port(0);
  six.mutable_isk()->clear_src_addr();
  for (int i = 0; i < 4; ++i) six.mutable_isk()->add_src_addr(0);
  AddFile(six, 4, 2);
  images::FileEntry cut = six;
  cut.mutable_isk()->mutable_src_addr()->Truncate(1);
  cut.mutable_isk()->set_state(99);
  AddFile(cut, 4, 3);
  images::FileEntry unix_socket;
  unix_socket.mutable_usk()->set_ino(100);
  unix_socket.mutable_usk()->set_type(SOCK_SEQPACKET);
  unix_socket.mutable_usk()->set_state(1);
  unix_socket.mutable_usk()->set_peer(101);
  unix_socket.mutable_usk()->set_name(std::string("\0a\0b", 4));
  AddFile(unix_socket, 5, 4);
  unix_socket.mutable_usk()->set_ino(101);
  unix_socket.mutable_usk()->set_peer(100);
  unix_socket.mutable_usk()->set_name(std::string("sock\0", 5));
  unix_socket.mutable_usk()->set_name_dir("/run");
  AddFile(unix_socket, 5, 5);

  auto files = ReadFiles();
  EXPECT_EQ(files[1].family + " " + files[1].protocol + " " + files[1].state, "inet tcp established");
  EXPECT_EQ(files[1].local + " " + files[1].remote, "10.0.0.1:80 10.0.0.2:4711");
  EXPECT_EQ(files[2].family + " " + files[2].state + " " + files[2].local, "inet6 listen [::]:80");
  EXPECT_EQ(files[2].remote, "");
  EXPECT_EQ(files[3].state + files[3].local, "99") << "an address that is cut is none";
  EXPECT_EQ(files[4].type + " " + files[4].local + " " + files[4].remote, "seqpacket @a@b /run/sock");
  EXPECT_EQ(files[5].local + " " + files[5].remote, "/run/sock @a@b");
}

TEST_F(ProcessImagesTest, EachMappingSaysWhatOfItIsSaved) {
  images::FileEntry file;
  file.mutable_reg()->set_name("/bin/sh");
  file.mutable_reg()->set_flags(0);
  file.mutable_reg()->set_pos(0);
  AddFile(file, 1, 3);
  images::MmEntry mm;
  AddMapping(mm, {0x1000, 0x4000}, kFilePrivateArea, 3);
  AddMapping(mm, {0x4000, 0x8000}, kPrivateArea | kHeapArea);
  AddMapping(mm, {0x8000, 0xa000}, kSharedArea, 40, 0x1000);
  AddMapping(mm, {0xa000, 0xc000}, kPrivateArea);
  AddMapping(mm, {0x1000, 0x2000}, kGuardArea);
  Put("mm-1.img", kMm, mm);
  AddPages("pagemap-1.img", {{0x2000, 0x3000}, {0x3000, 0x5000}, {0x7000, 0x8000}, {0xb000, 0xc000}});
  AddPages("pagemap-shmem-40.img", {{0, 0x2000}});
  const auto memory = ReadMemory();
  ASSERT_TRUE(memory.ok()) << memory.status();
  ASSERT_THAT(memory->mappings, SizeIs(4)) << "guards are no mappings";
  EXPECT_EQ(memory->mappings[0].kind + memory->mappings[0].name + memory->mappings[0].protection,
            "file/bin/shrw-p");
  EXPECT_EQ(memory->mappings[0].saved_bytes, 0x2000u);
  EXPECT_EQ(memory->mappings[1].kind, "heap");
  EXPECT_EQ(memory->mappings[1].saved_bytes, 0x2000u);
  EXPECT_EQ(memory->mappings[2].kind + memory->mappings[2].protection, "sharedrw-s");
  EXPECT_EQ(memory->mappings[2].saved_bytes, 0x1000u) << "of what it maps, not of all";
  EXPECT_EQ(memory->mappings[3].saved_bytes, 0x1000u);
  EXPECT_EQ(memory->mapped_bytes, 0xb000u);
  EXPECT_EQ(memory->saved_bytes, 0x5000u);
  EXPECT_EQ(memory->shared_bytes, 0x1000u);
}

TEST_F(ProcessImagesTest, HostileNumbersAreRefusedOrDoNoHarm) {
  images::MmEntry mm;
  AddMapping(mm, {0x1000, 0x2000}, kSharedArea, 40, UINT64_MAX - 100);
  AddMapping(mm, {0x2000, UINT64_MAX}, kFileSharedArea | kMemfdArea, UINT64_MAX);
  Put("mm-1.img", kMm, mm);
  EXPECT_EQ(ReadMemory()->mapped_bytes, UINT64_MAX - 0x1000);
  AddPages("pagemap-1.img", {{0x2000, 0x3000}, {0x2000, 0x3000}});
  EXPECT_TRUE(absl::IsDataLoss(ReadMemory().status())) << "not in order";
  images_.erase("pagemap-1.img");
  AddPages("pagemap-1.img", {{UINT64_MAX - 0xfff, UINT64_MAX}});
  images::PagemapEntry too_much;
  too_much.set_vaddr(0x1000);
  too_much.set_compat_nr_pages(0);
  too_much.set_nr_pages(UINT64_MAX / 2);
  Put("pagemap-1.img", kPagemap, too_much);
  EXPECT_TRUE(absl::IsDataLoss(ReadMemory().status()));
  images_.erase("pagemap-1.img");
  for (const AddressRange& wrong : {AddressRange{0x5000, 0x5000}, AddressRange{0x5000, 0x1000}}) {
    images_.erase("mm-1.img");
    images::MmEntry other;
    AddMapping(other, wrong, kPrivateArea);
    Put("mm-1.img", kMm, other);
    EXPECT_TRUE(absl::IsDataLoss(ReadMemory().status()));
  }
}

TEST_F(ProcessImagesTest, WhatIsNotThereIsNamed) {
  images::FdinfoEntry descriptor;
  descriptor.set_id(55);
  descriptor.set_flags(0);
  descriptor.set_type(1);
  descriptor.set_fd(2);
  Put("fdinfo-4.img", kFdinfo, descriptor);
  auto images = Read();
  ASSERT_TRUE(images.ok());
  EXPECT_EQ(Message(images->Descriptors(images->processes().front()).status()),
            "descriptor 2 of process 1 is of no file in files.img");
  images_["core-1.img"][0] = 'x';
  EXPECT_EQ(Message(Read().status()), "core-1.img is not an image of CRIU's");
  images_.erase("core-1.img");
  EXPECT_TRUE(absl::IsNotFound(Read().status()));
}

TEST_F(ProcessImagesTest, SixtyThousandMappingsAndAHundredThousandDescriptors) {
  images::FileEntry file;
  file.mutable_reg()->set_name("/data/" + std::string(100, 'n'));
  file.mutable_reg()->set_flags(0);
  file.mutable_reg()->set_pos(0);
  for (uint32_t id = 0; id < 100'000; ++id) AddFile(file, 1, id);
  images::MmEntry mm;
  std::vector<AddressRange> pages;
  for (uint64_t at = 1; at <= 60'000; ++at) {
    AddMapping(mm, {at * 0x10000, at * 0x10000 + 0x2000}, kPrivateArea);
    pages.push_back({at * 0x10000, at * 0x10000 + 0x1000});
  }
  Put("mm-1.img", kMm, mm);
  AddPages("pagemap-1.img", pages);
  EXPECT_THAT(ReadFiles(), SizeIs(100'000));
  const auto memory = ReadMemory();
  ASSERT_TRUE(memory.ok()) << memory.status();
  EXPECT_THAT(memory->mappings, SizeIs(60'000));
  EXPECT_EQ(memory->saved_bytes, 60'000u * 4096);
}

}  // namespace
}  // namespace stasis::criu
