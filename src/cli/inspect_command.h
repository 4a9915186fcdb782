// stasis checkpoint inspect
#pragma once

#include "CLI/CLI.hpp"
#include "cli/commands.h"

namespace stasis::cli {

void AddCheckpointInspect(CLI::App& group, Action* action);

}  // namespace stasis::cli
