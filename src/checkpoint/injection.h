// A system call made by a stopped thread of somebody else's program, so that our death at any instruction
// leaves the program unharmed (docs/adr/0004). x86-64.
//
// The thread is sent to a few instructions of ours in the padding behind its vdso, which a write through
// /proc/PID/mem makes private to the process. They make the call, and then load every register from slots
// beside them and jump to where the program stood: with us or without us. What the call clones ends at once
// when we are not there to hold it.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/status.h"
#include "linux/clock.h"
#include "linux/traced_thread.h"
#include "linux/unique_fd.h"

namespace stasis::checkpoint {

struct SystemCall {
  uint64_t number = 0;
  std::array<uint64_t, 6> arguments = {};
};

// Of one process; serves its threads, one at a time.
class Injection {
 public:
  // Finds the room. Changes nothing. kFailedPrecondition: the process has no vdso, or there is no room in it:
  // each tracer that died in the midst of a call has used up one place.
  static StatusOr<Injection> Prepare(pid_t process);

  // A tracer before us may have died and left a thread in the code: that one gets its registers. To be called
  // for each stopped thread of the process before the first Call.
  Status Settle(TracedThread& thread) const;

  // Makes the call in `thread`, which was seized with PTRACE_O_TRACESYSGOOD and stands in PTRACE_EVENT_STOP.
  // Returns what the kernel returned, an error as a negative number. Afterwards the thread is stopped and has
  // its registers as they were; let go (TracedThread::Detach), it goes through the kernel's signal path,
  // which makes a system call that the stop had interrupted again, as ever. kDeadlineExceeded, kNotFound (it
  // was killed): it is as good as untouched.
  StatusOr<int64_t> Call(TracedThread& thread, const SystemCall& call, Deadline deadline);

  // Calls the thread "stasis-twin".
  Status Rename(TracedThread& thread, Deadline deadline);

  struct Twin {
    TracedThread thread;
    pid_t inside = 0;  // its pid as `thread` sees it
  };
  // clone(2) without flags: a copy of the process, its memory copied on write, that tells its parent nothing
  // of its end. It is traced, stands still before its first instruction, and has PTRACE_O_EXITKILL: it dies
  // with us. `thread` is seized with PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK too. kResourceExhausted: a
  // limit on processes or memory.
  StatusOr<Twin> Clone(TracedThread& thread, Deadline deadline);

 private:
  // Where a thread stands, and goes on.
  struct Place {
    user_regs_struct registers = {};
    uint64_t blocked_signals = 0;
  };

  Injection(UniqueFd memory, uint64_t address, std::vector<uint64_t> abandoned)
      : memory_(std::move(memory)), address_(address), abandoned_(std::move(abandoned)) {}
  static StatusOr<Place> Look(const TracedThread& thread);
  Status Write(const Place& place) const;
  static Status Release(const UniqueFd& memory, uint64_t place);
  StatusOr<int64_t> Run(TracedThread& thread, const SystemCall& call, uint64_t entry, pid_t* clone,
                        Deadline deadline);

  UniqueFd memory_;                  // /proc/PID/mem
  uint64_t address_ = 0;             // of our code in the process
  std::vector<uint64_t> abandoned_;  // of code that a dead tracer left in use
};

// Kills a copy that Clone made, and waits until it has ended; its parent has to reap it.
void KillTwin(TracedThread& twin);

// The first thread of a process that runs, stopped so that calls can be made in it. It goes on at the end of
// this object's life, and where the stop has ended a wait, that goes on too.
struct StoppedCaller {
  TracedThread thread;
  Injection injection;

  // kNotFound: it has ended. kPermissionDenied: another traces it. kDeadlineExceeded: it waits where nothing
  // stops it. kFailedPrecondition: as Injection::Prepare.
  static StatusOr<StoppedCaller> Stop(pid_t process, Deadline deadline);
};

}  // namespace stasis::checkpoint
