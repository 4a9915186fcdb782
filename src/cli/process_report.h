// What `stasis checkpoint inspect` draws below a process: its open files, its sockets, its memory.
#pragma once

#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "cli/tree.h"

namespace stasis::cli {

// Of one process as GET /containers/{id}/checkpoints/{name}/processes gives it: a branch for each list that
// is there. kInvalidArgument: it is not of that form.
StatusOr<std::vector<TreeNode>> ProcessBranches(const Json& process);

}  // namespace stasis::cli
