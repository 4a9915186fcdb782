// A checkpoint's staging directory (manifest/staged_checkpoint.h), and below it the directory of CRIU's
// images, which go from there into the store.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "base/names.h"
#include "base/status.h"
#include "linux/unique_fd.h"
#include "manifest/staged_checkpoint.h"

namespace stasis::checkpoint {

class Staging {
 public:
  // As StagedCheckpoint::Create, with the image directory, 0700, in it.
  static StatusOr<Staging> Create(const std::string& directory, const CheckpointName& name);

  const std::string& path() const { return staged_.path(); }
  std::string images_path() const;
  int images() const { return images_.get(); }  // descriptor of the image directory

  uint64_t inode() const { return staged_.inode(); }
  std::string published_path() const { return staged_.published_path(); }

  Status RemoveImages();
  Status Publish() { return staged_.Publish(); }

 private:
  Staging(StagedCheckpoint staged, UniqueFd images)
      : staged_(std::move(staged)), images_(std::move(images)) {}

  StagedCheckpoint staged_;
  UniqueFd images_;
};

}  // namespace stasis::checkpoint
