// Carries bytes between a client whose connection left HTTP and a process of a container.
#pragma once

#include <string>

#include "api/response.h"
#include "base/detach_keys.h"
#include "base/status.h"
#include "linux/unique_fd.h"

namespace stasis::api {

// What becomes of the process's output (api/multiplex.h) on its way to the client.
enum class OutputForm {
  kAsIs,
  kFramed,    // raw bytes of a terminal go out in frames of stdout
  kUnframed,  // frames come in, what they hold goes out
};

struct PumpOptions {
  bool use_stdin = false;
  OutputForm form = OutputForm::kAsIs;
  DetachKeys* detach_keys = nullptr;  // null: nobody types
};

// Copies what comes from `process` to the client, and, with `use_stdin`, what comes from the client to
// `process` (without, it is thrown away). Returns ok
//   - when the detach keys were pressed: as when the client leaves;
//   - when the process's side ends, and all of it was written to the client;
//   - when the client leaves (both directions closed). What it had sent before is delivered first. `process`
//   is
//     closed, not shut down: a client that detaches does not end the process's stdin;
// and kCancelled when the server stops.
// A client that only ends its own sending (half-close) ends the process's stdin by shutdown(2) and goes on
// reading. Takes `process`, a connected stream socket.
Status PumpStreams(HijackedConnection& client, UniqueFd process, const PumpOptions& options);

}  // namespace stasis::api
