// The directory in which a checkpoint is made, DIRECTORY/.NAME.partial-XXXXXXXX, until it is published by one
// rename.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "base/names.h"
#include "base/status.h"
#include "linux/files.h"
#include "linux/unique_fd.h"

namespace stasis {

class StagedCheckpoint {
 public:
  // Makes DIRECTORY where it is missing, and the staging directory in it, both 0700. Removes what dead makers
  // have left there. kAlreadyExists: DIRECTORY/NAME is there.
  static StatusOr<StagedCheckpoint> Create(const std::string& directory, const CheckpointName& name);
  StagedCheckpoint(StagedCheckpoint&&) noexcept = default;
  StagedCheckpoint& operator=(StagedCheckpoint&&) noexcept = default;
  // Removes it with all in it, unless it was published.
  ~StagedCheckpoint() = default;

  const std::string& path() const { return temporary_.path(); }
  uint64_t inode() const { return inode_; }  // of the directory, before and after it is published
  std::string published_path() const;        // DIRECTORY/NAME

  // Makes all that is in it durable, then the one rename, and that too. kAlreadyExists: somebody was faster.
  // On any error it is still the staging directory.
  Status Publish();

 private:
  StagedCheckpoint(std::string directory, CheckpointName name, UniqueFd lock, TemporaryDirectory temporary,
                   uint64_t inode)
      : directory_(std::move(directory)),
        name_(std::move(name)),
        lock_(std::move(lock)),
        temporary_(std::move(temporary)),
        inode_(inode) {}

  std::string directory_;
  CheckpointName name_;
  UniqueFd lock_;  // LockAside; let go of after it is removed
  TemporaryDirectory temporary_;
  uint64_t inode_ = 0;
};

}  // namespace stasis
