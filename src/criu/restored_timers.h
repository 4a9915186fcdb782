// Timers by the clock, at a restore. CRIU sets the clock of the restored processes early, to that of the
// dump, and much later their timers, with the time that was left in the dump: they would run out late by what
// passes in between, which on a busy machine is seconds. So all that are armed are listed, and
// preload/restored_timers.c sets them once more, when all else of the processes is there, to what is left by
// their clock.
#pragma once

#include "base/status.h"

namespace stasis::criu {

// Among the images. First "clock NANOSECONDS": of CLOCK_MONOTONIC inside, in the dump. Then a line for each
// timer, processes as the container sees them: "real PROCESS 0 LEFT PERIOD", ITIMER_REAL;
// "posix PROCESS ID LEFT PERIOD", of timer_create(2); "file PROCESS DESCRIPTOR LEFT PERIOD", of
// timerfd_create(2). LEFT, in the dump, and PERIOD in nanoseconds.
inline constexpr char kRestoredTimersFile[] = "restored-timers";

// Makes it in the directory `images`; none where no timer is armed, or the dump has no clock. What counts CPU
// time is left out, and what is to be told of changes of the clock (TFD_TIMER_CANCEL_ON_SET). kDataLoss: the
// images are not CRIU's.
Status ListTimers(int images);

}  // namespace stasis::criu
