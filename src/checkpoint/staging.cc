#include "checkpoint/staging.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "manifest/checkpoint_directory.h"

namespace stasis::checkpoint {
namespace {

constexpr off_t kChunk = 8 << 20;
constexpr off_t kAhead = 16 * kChunk;

// fsync in steps, so that a large file on a slow disk still shows progress.
Status SyncFile(int directory, const std::string& name, uint64_t* done,
                const std::function<void(uint64_t)>& tell, const std::stop_token& cancel) {
  STASIS_ASSIGN_OR_RETURN(UniqueFd file, OpenFileAt(directory, name, O_RDONLY | O_NOFOLLOW));
  struct stat info;
  if (::fstat(file.get(), &info) != 0) return ErrnoError(errno, "fstat " + name);
  // Well ahead of what is waited for, so that the disk is never idle.
  auto start_write_out = [&](off_t at, off_t bytes) {
    static_cast<void>(::sync_file_range(file.get(), at, bytes, SYNC_FILE_RANGE_WRITE));
  };
  start_write_out(0, kAhead);
  for (off_t at = 0; at < info.st_size; at += kChunk) {
    constexpr unsigned kFlags =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    if (cancel.stop_requested()) return Cancelled("the checkpoint was cancelled");
    start_write_out(at + kAhead, kChunk);
    if (::sync_file_range(file.get(), at, kChunk, kFlags) != 0) break;  // only a hint: fsync below decides
    *done += static_cast<uint64_t>(std::min(kChunk, info.st_size - at));
    tell(*done);
  }
  if (::fsync(file.get()) != 0) return ErrnoError(errno, "fsync " + name);
  return absl::OkStatus();
}

}  // namespace

StatusOr<Staging> Staging::Create(const std::string& directory, const CheckpointName& name) {
  STASIS_RETURN_IF_ERROR(MakeDirectories(directory));
  STASIS_ASSIGN_OR_RETURN(bool taken, CheckpointExists(directory, name));
  if (taken) return AlreadyExists("checkpoint with name " + name.str() + " already exists");
  STASIS_ASSIGN_OR_RETURN(TemporaryDirectory temporary,
                          TemporaryDirectory::Create(directory, "." + name.str() + kPartialMark));
  std::string images = temporary.path() + "/" + kImagesDirectory;
  STASIS_RETURN_IF_ERROR(MakeDirectories(images));
  STASIS_ASSIGN_OR_RETURN(UniqueFd opened, OpenDirectory(images));
  struct stat info;
  if (::lstat(temporary.path().c_str(), &info) != 0) return ErrnoError(errno, "stat " + temporary.path());
  return Staging(directory, name, std::move(temporary), std::move(opened), info.st_ino);
}

std::string Staging::images_path() const { return path() + "/" + kImagesDirectory; }

std::string Staging::published_path() const { return CheckpointPath(directory_, name_); }

Status Staging::Sync(const std::function<void(uint64_t)>& on_progress, const std::stop_token& cancel) {
  uint64_t done = 0;
  STASIS_ASSIGN_OR_RETURN(std::vector<std::string> names, ListDirectory(images_path()));
  for (const std::string& name : names) {
    STASIS_RETURN_IF_ERROR(SyncFile(images_.get(), name, &done, on_progress, cancel));
  }
  return SyncTree(path());  // the manifest and the directories; of the images nothing is left to write
}

Status Staging::Publish() {
  STASIS_ASSIGN_OR_RETURN(UniqueFd parent, OpenDirectory(directory_));
  std::string base = path().substr(path().rfind('/') + 1);
  STASIS_RETURN_IF_ERROR(PublishByRename(parent.get(), base, parent.get(), name_.str()));
  temporary_.Release();
  return absl::OkStatus();
}

}  // namespace stasis::checkpoint
