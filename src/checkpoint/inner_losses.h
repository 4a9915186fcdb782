// Losses (criu/losses.h) of which no file in /proc tells: the process itself is asked, or a copy of it, by
// injected system calls.
#pragma once

#include <vector>

#include "base/status.h"
#include "checkpoint/injection.h"
#include "criu/losses.h"
#include "criu/processes.h"
#include "criu/protections.h"
#include "linux/clock.h"
#include "linux/traced_thread.h"

namespace stasis::checkpoint {

// What asking the processes has brought to light.
struct InnerFindings {
  criu::Losses* losses = nullptr;
  criu::Protections* protections = nullptr;
};

// By calls that change nothing, in a stopped thread of the process or in its copy. Errors as Injection::Call.
Status FindInnerLosses(const criu::Process& process, Injection& injection, TracedThread& thread,
                       Deadline deadline, const InnerFindings& findings);

// The kernel tells nobody whether a thread is under Landlock rules. But a thread can have 16 layers of them
// (landlock_restrict_self(2)), so the copy is given layer after layer, until there is no room, and is good
// for nothing afterwards but to be read and killed.
Status FindLandlock(const criu::Process& process, Injection& injection, TracedThread& copy, Deadline deadline,
                    criu::Losses* losses);

// Both, of the first threads of `processes` that run, which stop for a moment; and what their memory tells.
// Those that have ended, are stopped by a signal or run 32-bit code are passed over. kUnavailable: one waits
// where nothing stops it.
Status FindLossesInside(const std::vector<criu::Process>& processes, const InnerFindings& findings);

}  // namespace stasis::checkpoint
