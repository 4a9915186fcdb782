// What CRIU's images tell wrongly of timers and of their signals, put right before they are stored:
//
// - A signal that came after CRIU had read those of its process is not in the images, and where a timer sent
//   it, that timer is not armed in them: lost (preload/late_signals.c notes them).
// - A timerfd with a period whose time has run out is armed again by the kernel when it is read. CRIU sees
// one
//   with no time left, and restores one that is not armed.
// - Of a timerfd that was set to a point in time CRIU saves the time left, and restores that, added to the
//   whole seconds of the clock: up to a second too early, and one that was not armed runs out at once. So it
//   is saved as one that was set to the time left.
#pragma once

#include <string>

#include "base/status.h"

namespace stasis::criu {

// In the directory `images`, of a dump that is complete. `late_signals` is the path of what the preloaded
// library has noted; no such file: there were none. kDataLoss: the images are not CRIU's.
Status MendTimers(int images, const std::string& late_signals);

}  // namespace stasis::criu
