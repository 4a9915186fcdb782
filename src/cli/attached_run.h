// A container run with our stdin, stdout, stderr and terminal: stasis run without -d, stasis start -a.
#pragma once

#include <functional>
#include <string>

#include "base/status.h"
#include "cli/api_client.h"
#include "cli/session.h"
#include "cli/terminal.h"

namespace stasis::cli {

struct AttachedRun {
  std::string container;
  bool terminal = false;
  bool interactive = false;
  std::string wait_condition;  // "next-exit"; "removed": the container has AutoRemove
  std::function<Status()> start;
};

// Attaches, waits, then starts, so that no output and no exit is missed. Signals of ours go to the container.
// The result is the program's exit code: the container's, 0 when the user detached, 128 + N when signal N
// ended us. An error of `start` is returned as it is.
StatusOr<int> RunAttached(const ApiClient& client, const AttachedRun& run, const HeldSignals& signals);

// StatusCode of what POST /containers/{id}/wait answers.
StatusOr<int> ExitCodeOfWait(const Json& answer);

}  // namespace stasis::cli
