#include "checkpoint/staging.h"

#include <sys/stat.h>

#include "manifest/checkpoint_directory.h"

namespace stasis::checkpoint {
namespace {

constexpr char kImagesDirectory[] = "criu";

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
