// What a user sees of a process in a container: our stdin, stdout, stderr and terminal connected to a raw
// stream of the daemon's.
#pragma once

#include <functional>
#include <optional>

#include "base/status.h"
#include "cli/api_client.h"
#include "cli/terminal.h"

namespace stasis::cli {

struct SessionOptions {
  bool terminal = false;  // the stream is raw, not multiplexed
  bool use_stdin = false;
  // A signal came that is not SIGWINCH. Absent: such a signal ends the session.
  std::function<void(int signal)> on_signal = {};
  // The size of our terminal, at the start and when it changes.
  std::function<void(WindowSize size)> on_resize = {};
  // The session also waits until this call's answer comes: the end of the process.
  const PendingCall* exit = nullptr;
};

struct SessionEnd {
  enum class Reason { kEnded, kDetached, kSignal };
  Reason reason = Reason::kEnded;
  int signal = 0;  // kSignal: which
};

// Runs the session to its end. With a terminal at our stdin that is used, it is in raw mode meanwhile and as
// before afterwards, on every path. Three times SIGINT or SIGTERM end it in any case, as docker's.
StatusOr<SessionEnd> RunSession(HijackedStream stream, const SessionOptions& options,
                                const HeldSignals& signals);

}  // namespace stasis::cli
