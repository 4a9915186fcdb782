// A directory in memory for the small images that CRIU makes of each process while the container stands still
// (criu/preload/task_images.c). It is a tmpfs that is mounted nowhere: it goes with its last descriptor,
// whatever ends us.
#pragma once

#include <string>

#include "base/status.h"
#include "linux/unique_fd.h"

namespace stasis::checkpoint {

class TaskImages {
 public:
  // kPermissionDenied, kUnimplemented: none is to be had; CRIU then makes them where it makes all others.
  static StatusOr<TaskImages> Make();

  // As another process finds the directory, as long as this lives.
  std::string path() const;
  // Copies what is in it into the directory `images`, where all that reads images looks for them.
  Status BringInto(int images) const;

 private:
  explicit TaskImages(UniqueFd directory) : directory_(std::move(directory)) {}
  UniqueFd directory_;
};

}  // namespace stasis::checkpoint
