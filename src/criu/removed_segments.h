// Shared memory segments of System V that were removed while they are attached (shmctl(2), IPC_RMID): the
// kernel frees one with its last user. CRIU makes them again as ones that stay, which nobody would free any
// more.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/status.h"

namespace stasis::criu {

// CRIU's image of a namespace's segments: names begin so.
inline constexpr char kSegmentsImage[] = "ipcns-shm-";

// The ids of those in the image `name` of the directory `images`. kDataLoss: it is no such image.
StatusOr<std::vector<int>> ReadRemovedSegments(int images, const std::string& name);

// Removes them in the namespace of `thread`, where the restored processes have attached them.
Status RemoveSegments(const std::vector<int>& segments, pid_t thread);

}  // namespace stasis::criu
