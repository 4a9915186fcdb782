#include "manifest/staged_checkpoint.h"

#include <sys/stat.h>

#include <cerrno>

#include "manifest/checkpoint_directory.h"

namespace stasis {
namespace {

constexpr int kAttempts = 100;

}  // namespace

StatusOr<StagedCheckpoint> StagedCheckpoint::Create(const std::string& directory,
                                                    const CheckpointName& name) {
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
    struct stat info;
    if (::fstat(itself->get(), &info) != 0) return ErrnoError(errno, "stat " + temporary.path());
    return StagedCheckpoint(directory, name, *std::move(itself), std::move(temporary), info.st_ino);
  }
  return Unavailable("what is made in " + directory + " is removed again and again");
}

std::string StagedCheckpoint::published_path() const { return CheckpointPath(directory_, name_); }

Status StagedCheckpoint::Publish() {
  STASIS_RETURN_IF_ERROR(SyncTree(path()));
  STASIS_ASSIGN_OR_RETURN(UniqueFd parent, OpenDirectory(directory_));
  std::string base = path().substr(path().rfind('/') + 1);
  STASIS_RETURN_IF_ERROR(PublishByRename(parent.get(), base, parent.get(), name_.str()));
  temporary_.Release();
  return absl::OkStatus();
}

}  // namespace stasis
