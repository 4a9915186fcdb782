// A checkpoint that is being restored, as the shim sees it: its checkpointer has unpacked CRIU's images, and
// stays until it has written into the restored processes what is not in them.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

#include "base/status.h"
#include "protocol/checkpointer.h"
#include "shim/checkpointer_process.h"
#include "shim/shim_log.h"

namespace stasis {

class RestoredCheckpoint {
 public:
  // `checkpointer`: path of the program.
  RestoredCheckpoint(std::string checkpointer, ShimLog* log)
      : checkpointer_(std::move(checkpointer)), log_(log) {}
  RestoredCheckpoint(const RestoredCheckpoint&) = delete;
  RestoredCheckpoint& operator=(const RestoredCheckpoint&) = delete;
  ~RestoredCheckpoint();

  // The images. True: some memory is not in them, and is given from now on to whoever asks at
  // request.memory_socket. kDataLoss: the checkpoint is damaged. kCancelled.
  StatusOr<bool> Unpack(const protocol::UnpackRequest& request, const std::stop_token& cancel);

  // Once CRIU has ended: why it did not get that memory. Ok where it did, or never asked.
  Status MemoryFailure();

 private:
  Status End(const Status& status, const std::stop_token& cancel);

  const std::string checkpointer_;
  ShimLog* const log_;
  std::optional<CheckpointerProcess> process_;
  Status filled_;
  std::jthread filling_;  // owns process_ and filled_ while it runs
};

}  // namespace stasis
