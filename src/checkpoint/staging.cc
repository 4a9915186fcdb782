#include "checkpoint/staging.h"

#include "linux/files.h"

namespace stasis::checkpoint {
namespace {

constexpr char kImagesDirectory[] = "/criu";

}  // namespace

StatusOr<Staging> Staging::Create(const std::string& directory, const CheckpointName& name) {
  STASIS_ASSIGN_OR_RETURN(StagedCheckpoint staged, StagedCheckpoint::Create(directory, name));
  const std::string images = staged.path() + kImagesDirectory;
  STASIS_RETURN_IF_ERROR(MakeDirectories(images));
  STASIS_ASSIGN_OR_RETURN(UniqueFd opened, OpenDirectory(images));
  return Staging(std::move(staged), std::move(opened));
}

std::string Staging::images_path() const { return path() + kImagesDirectory; }

Status Staging::RemoveImages() {
  images_.reset();
  return RemoveTree(images_path());
}

}  // namespace stasis::checkpoint
