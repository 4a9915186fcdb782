// stasis checkpoint ls, verify, du, gc: of all checkpoints of one store, be it the containers' own or that of
// a directory.
#pragma once

#include "cli/commands.h"

namespace stasis::cli {

void AddCheckpointStoreCommands(CLI::App& group, Action* action);

}  // namespace stasis::cli
