#include "criu/file_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "base/hex.h"
#include "criu/image_file.h"
#include "criu_rpc/images.pb.h"
#include "linux/files.h"

namespace stasis::criu {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// The container is this process.
class FileNamesTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_.emplace(*TemporaryDirectory::Create("/tmp", "stasis-file-names-"));
    path_ = directory_->path();
    std::filesystem::create_directory(path_ + "/images");
    images_ = *OpenDirectory(path_ + "/images");
    process_.pid = ::getpid();
    process_.inside = 7;
    process_.name = "program";
  }

  void AddSocket(uint32_t inode, const std::string& name, const std::string& directory = "") {
    images::FileEntry& file = files_.emplace_back();
    file.set_type(5);
    file.set_id(static_cast<uint32_t>(files_.size()));
    images::UnixSkEntry* socket = file.mutable_usk();
    socket->set_id(file.id());
    socket->set_ino(inode);
    socket->set_type(SOCK_STREAM);
    socket->set_state(10);
    socket->set_peer(0);
    socket->set_name(name + '\0');
    if (!directory.empty()) socket->set_name_dir(directory);
  }
  // As the kernel says it of the file at `path`; `shown`: under which path.
  void Note(uint32_t inode, const std::string& path, const std::string& shown = "") {
    struct stat state = {};
    ASSERT_EQ(::stat(path.c_str(), &state), 0);
    notes_ += std::to_string(inode) + " " + std::to_string(state.st_dev) + " " +
              std::to_string(state.st_ino) + " " + std::to_string(state.st_nlink) + " " +
              ToHex(shown.empty() ? path : shown) + "\n";
  }
  void AddGhost(const std::string& name, mode_t mode) {
    images::FileEntry& file = files_.emplace_back();
    file.set_type(1);
    file.set_id(static_cast<uint32_t>(files_.size()));
    file.mutable_reg()->set_flags(0);
    file.mutable_reg()->set_pos(0);
    file.mutable_reg()->set_name(name);
    file.mutable_reg()->set_mode(mode);
    images::RemapFilePathEntry& remap = ghosts_.emplace_back();
    remap.set_orig_id(file.id());
    remap.set_remap_id(1);
    remap.set_remap_type(1);
  }

  Status Mend(const std::vector<OutsidePeer>& peers = {}) {
    ImageWriter files(kCommonMagic, kFilesMagic);
    for (const images::FileEntry& file : files_) files.Add(file);
    std::ofstream(path_ + "/images/files.img") << files.bytes();
    ImageWriter remaps(kCommonMagic, kRemapMagic);
    for (const images::RemapFilePathEntry& ghost : ghosts_) remaps.Add(ghost);
    std::ofstream(path_ + "/images/remap-fpath.img") << remaps.bytes();
    if (!notes_.empty()) std::ofstream(path_ + "/notes") << notes_;
    STASIS_RETURN_IF_ERROR(MendFileNames(images_.get(), path_ + "/notes", peers, {process_},
                                         After(std::chrono::seconds(3)), {}));
    STASIS_ASSIGN_OR_RETURN(ImageReader reader,
                            ImageReader::Open(images_.get(), kFilesImage, kCommonMagic, kFilesMagic));
    for (files_.clear(); !reader.AtEnd();) STASIS_RETURN_IF_ERROR(reader.Next(&files_.emplace_back()));
    return absl::OkStatus();
  }
  // What each entry names, "DIRECTORY:NAME" where it is relative.
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const images::FileEntry& file : files_) {
      if (file.has_reg()) names.push_back(file.reg().name());
      if (!file.has_usk()) continue;
      const std::string name = file.usk().name().c_str();
      names.push_back(file.usk().has_name_dir() ? file.usk().name_dir() + ":" + name : name);
    }
    return names;
  }

  std::optional<TemporaryDirectory> directory_;
  std::string path_;
  UniqueFd images_;
  Process process_;
  std::vector<images::FileEntry> files_;
  std::vector<images::RemapFilePathEntry> ghosts_;
  std::string notes_;
};

TEST_F(FileNamesTest, ASocketGetsThePresentNameOfItsFile) {
  std::ofstream(path_ + "/new") << "";
  std::filesystem::create_directories(path_ + "/a/b");
  std::ofstream(path_ + "/a/b/linked") << "";
  const std::string name(150, 'n');
  std::filesystem::create_directory(path_ + "/" + name);
  std::ofstream(path_ + "/" + name + "/far") << "";
  AddSocket(1, path_ + "/old");
  Note(1, path_ + "/new");
  AddSocket(2, path_ + "/removed");
  files_.back().mutable_usk()->set_deleted(true);
  Note(2, path_ + "/a/b/linked", path_ + "/removed (deleted)");
  AddSocket(3, "old", "/");
  Note(3, path_ + "/new");
  AddSocket(4, path_ + "/old");
  Note(4, path_ + "/" + name + "/far");
  AddSocket(5, path_ + "/as it is");
  ASSERT_EQ(Mend(), absl::OkStatus());
  EXPECT_THAT(Names(), ElementsAre(path_ + "/new", path_ + "/a/b/linked", path_ + "/new",
                                   path_ + "/" + name + ":far", path_ + "/as it is"));
  EXPECT_FALSE(files_[1].usk().deleted());
}

TEST_F(FileNamesTest, ANameThatLeadsThereByALinkStays) {
  std::filesystem::create_directory(path_ + "/run");
  std::filesystem::create_symlink("run", path_ + "/var");
  std::ofstream(path_ + "/run/socket") << "";
  AddSocket(1, path_ + "/var/socket");
  Note(1, path_ + "/run/socket");
  ASSERT_EQ(Mend(), absl::OkStatus());
  EXPECT_THAT(Names(), ElementsAre(path_ + "/var/socket"));
}

TEST_F(FileNamesTest, WhatWouldNotBeFoundIsRefused) {
  std::ofstream(path_ + "/one") << "";
  std::filesystem::create_hard_link(path_ + "/one", path_ + "/two");
  AddSocket(1, path_ + "/one");
  Note(1, path_ + "/one");
  EXPECT_THAT(Message(Mend()), HasSubstr("has a unix socket whose file (it was bound as " + path_ +
                                         "/one) has 2 names (hard links)"));
}

TEST_F(FileNamesTest, WhatIsMadeAgainLiesInADirectory) {
  std::filesystem::create_symlink("/nowhere", path_ + "/link");
  std::ofstream(path_ + "/file") << "";
  std::filesystem::create_directories(path_ + "/real/again");
  AddGhost(path_ + "/link/below/x", S_IFREG | 0644);
  AddGhost(path_ + "/file/y", S_IFREG | 0644);
  AddGhost(path_ + "/nothing/below/z", S_IFREG | 0644);
  AddGhost(path_ + "/file", S_IFREG | 0644);
  AddGhost(path_ + "/real/again", S_IFDIR | 0755);
  AddGhost(path_ + "/nothing/below", S_IFDIR | 0755);
  ASSERT_EQ(Mend(), absl::OkStatus());
  EXPECT_THAT(Names(),
              ElementsAre(path_ + "/x", path_ + "/y", path_ + "/nothing/below/z", path_ + "/file.removed-1",
                          path_ + "/real/again.removed-1", path_ + "/below"));
}

TEST_F(FileNamesTest, APeerOutsideIsConnectedAgain) {
  AddSocket(1, "");
  AddSocket(2, "");
  ASSERT_EQ(Mend({{2, 99, "/dev/log"}}), absl::OkStatus());
  ASSERT_EQ(files_.size(), 3U);
  const images::UnixSkEntry& outside = files_[0].usk();
  EXPECT_EQ(outside.ino(), 99U);
  EXPECT_EQ(outside.uflags(), 1U);
  EXPECT_EQ(outside.name(), std::string("/dev/log\0", 9));
  EXPECT_EQ(outside.id(), 3U);
  EXPECT_EQ(files_[0].id(), 3U);
  EXPECT_EQ(files_[1].usk().peer(), 0U);
  EXPECT_EQ(files_[2].usk().peer(), 99U);
}

TEST_F(FileNamesTest, NothingIsWrittenWhereNothingIsWrong) {
  AddSocket(1, path_ + "/socket");
  ASSERT_EQ(Mend(), absl::OkStatus());
  EXPECT_THAT(Names(), ElementsAre(path_ + "/socket"));
}

TEST_F(FileNamesTest, DamagedNotesAreAnError) {
  AddSocket(1, path_ + "/socket");
  notes_ = "1 2 3 4 nonsense\n";
  EXPECT_TRUE(absl::IsDataLoss(Mend()));
}

}  // namespace
}  // namespace stasis::criu
