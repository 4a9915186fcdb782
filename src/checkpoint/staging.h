// The directory in which a checkpoint is made, DIRECTORY/.NAME.partial-XXXXXXXX, until it is published by one
// rename. CRIU writes its images below it; they go from there into the store.
#pragma once

#include <cstdint>
#include <string>

#include "base/names.h"
#include "base/status.h"
#include "linux/files.h"
#include "linux/unique_fd.h"

namespace stasis::checkpoint {

class Staging {
 public:
  // Makes DIRECTORY where it is missing, and the staging directory with its image directory in it, all 0700.
  // Removes what dead makers have left there. kAlreadyExists: DIRECTORY/NAME is there.
  static StatusOr<Staging> Create(const std::string& directory, const CheckpointName& name);
  Staging(Staging&&) noexcept = default;
  Staging& operator=(Staging&&) noexcept = default;
  // Removes it with all in it, unless it was published.
  ~Staging() = default;

  const std::string& path() const { return temporary_.path(); }
  std::string images_path() const;
  int images() const { return images_.get(); }  // descriptor of the image directory

  uint64_t inode() const { return inode_; }  // of the directory, before and after it is published
  std::string published_path() const;        // DIRECTORY/NAME

  Status RemoveImages();
  // Makes all that is in it durable, then the one rename, and that too. kAlreadyExists: somebody was faster.
  // On any error it is still the staging directory.
  Status Publish();

 private:
  Staging(std::string directory, CheckpointName name, UniqueFd lock, TemporaryDirectory temporary,
          UniqueFd images, uint64_t inode)
      : directory_(std::move(directory)),
        name_(std::move(name)),
        lock_(std::move(lock)),
        temporary_(std::move(temporary)),
        images_(std::move(images)),
        inode_(inode) {}

  std::string directory_;
  CheckpointName name_;
  UniqueFd lock_;  // LockAside; let go of after it is removed
  TemporaryDirectory temporary_;
  UniqueFd images_;
  uint64_t inode_ = 0;
};

}  // namespace stasis::checkpoint
