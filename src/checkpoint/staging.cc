#include "checkpoint/staging.h"

#include <sys/stat.h>

#include "manifest/checkpoint_directory.h"

namespace stasis::checkpoint {
namespace {

constexpr char kImagesDirectory[] = "criu";
constexpr int kAttempts = 100;

}  // namespace

StatusOr<Staging> Staging::Create(const std::string& directory, const CheckpointName& name) {
  STASIS_RETURN_IF_ERROR(MakeDirectories(directory));
  STASIS_ASSIGN_OR_RETURN(bool taken, CheckpointExists(directory, name));
  if (taken) return AlreadyExists("checkpoint with name " + name.str() + " already exists");
  // After a power cut nobody else would, in a directory that no container owns.
  RemoveLeftovers(directory).IgnoreError();
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    STASIS_ASSIGN_OR_RETURN(TemporaryDirectory temporary,
                            TemporaryDirectory::Create(directory, "." + name.str() + kPartialMark));
    auto itself = OpenDirectory(temporary.path());
    // Before the lock another may have taken it for a dead one's.
    if (absl::IsNotFound(itself.status())) continue;
    if (!itself.ok()) return itself.status();
    if (!LockAside(itself->get())) continue;
    const std::string images = temporary.path() + "/" + kImagesDirectory;
    STASIS_RETURN_IF_ERROR(MakeDirectories(images));
    STASIS_ASSIGN_OR_RETURN(UniqueFd opened, OpenDirectory(images));
    struct stat info;
    if (::fstat(itself->get(), &info) != 0) return ErrnoError(errno, "stat " + temporary.path());
    return Staging(directory, name, *std::move(itself), std::move(temporary), std::move(opened), info.st_ino);
  }
  return Unavailable("what is made in " + directory + " is removed again and again");
}

std::string Staging::images_path() const { return path() + "/" + kImagesDirectory; }

std::string Staging::published_path() const { return CheckpointPath(directory_, name_); }

Status Staging::RemoveImages() {
  images_.reset();
  return RemoveTree(images_path());
}

Status Staging::Publish() {
  STASIS_RETURN_IF_ERROR(SyncTree(path()));
  STASIS_ASSIGN_OR_RETURN(UniqueFd parent, OpenDirectory(directory_));
  std::string base = path().substr(path().rfind('/') + 1);
  STASIS_RETURN_IF_ERROR(PublishByRename(parent.get(), base, parent.get(), name_.str()));
  temporary_.Release();
  return absl::OkStatus();
}

}  // namespace stasis::checkpoint
