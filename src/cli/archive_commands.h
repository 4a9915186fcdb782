// stasis checkpoint export, import, show.
#pragma once

#include "cli/commands.h"

namespace stasis::cli {

void AddCheckpointArchiveCommands(CLI::App& group, Action* action);

}  // namespace stasis::cli
