// One thread held by ptrace(2). x86-64.
//
// ptrace binds a tracee to the OS thread that seized it: all calls come from that thread, which holds SIGCHLD
// blocked (BlockChildSignals) so that a wait for a stop can have a deadline.
#pragma once

#include <signal.h>
#include <sys/types.h>
#include <sys/user.h>

#include <chrono>
#include <cstdint>
#include <optional>

#include "base/status.h"
#include "linux/clock.h"

namespace stasis {

// Blocks SIGCHLD in the calling thread and in those it makes later. Call before any thread is made.
Status BlockChildSignals();

class TracedThread {
 public:
  // A stop as wait(2) tells it. `event` is a PTRACE_EVENT_*, or 0.
  struct Stop {
    int signal = 0;
    int event = 0;
    // The entry or the exit of a system call, under PTRACE_O_TRACESYSGOOD.
    bool AtSystemCall() const { return event == 0 && signal == (SIGTRAP | 0x80); }
    // A signal that it is to get: Continue gives it.
    bool AtSignal() const { return event == 0 && !AtSystemCall(); }
  };

  // PTRACE_SEIZE: it runs on. `options` are PTRACE_O_*; never PTRACE_O_EXITKILL for one that is to outlive
  // us. kNotFound: it is gone. kPermissionDenied: another traces it, or it may not be traced.
  static StatusOr<TracedThread> Seize(pid_t id, uint64_t options);
  // One that a seized thread has cloned under PTRACE_O_TRACECLONE: it is traced from its birth, and stops.
  static TracedThread Adopt(pid_t id) { return TracedThread(id); }

  // Takes the end of a thread that a thread of ours has seized, if it has ended; from any thread of ours.
  // Whoever waits for it afterwards gets kNotFound. An execve(2) waits for that of its siblings.
  static void Reap(pid_t id);

  TracedThread(TracedThread&& other) noexcept : id_(other.id_) { other.id_ = 0; }
  TracedThread& operator=(TracedThread&& other) noexcept;
  // Lets it go where it still holds it. One that runs cannot be let go: the kernel does so when we end.
  ~TracedThread();

  pid_t id() const { return id_; }

  Status SetOptions(uint64_t options);
  // Stops it wherever it is, in a system call too: in PTRACE_EVENT_STOP. Signals that it is to get before
  // that it gets. Interrupt asks, and AwaitHalt waits: so many can be asked first. Errors as AwaitStop.
  Status Interrupt();
  Status AwaitHalt(Deadline deadline);
  // kNotFound: it has ended, and is reaped. kDeadlineExceeded.
  StatusOr<Stop> AwaitStop(Deadline deadline);

  // For a stopped one:
  StatusOr<user_regs_struct> Registers() const;
  Status SetRegisters(const user_regs_struct& registers);
  // In PTRACE_EVENT_STOP: where the stop has ended a wait (interrupted_wait.h), that goes on once the thread
  // is let go; for the time that is left, where it is known since when (CLOCK_MONOTONIC) it waits.
  Status GoOnWaiting(std::optional<std::chrono::nanoseconds> began);
  // The signals it blocks, bit N-1 for signal N; those that it has when it is back from a call that blocks
  // others meanwhile.
  StatusOr<uint64_t> BlockedSignals() const;
  Status SetBlockedSignals(uint64_t signals);
  // The pid of a new thread, at its PTRACE_EVENT_CLONE or _FORK.
  StatusOr<pid_t> NewThread() const;
  // Where it is inside a restartable sequence (rseq(2)): where that continues when it is aborted; else 0.
  // Kernels before 5.13 do not tell: 0.
  StatusOr<uint64_t> RestartableSequenceAbort(uint64_t instruction) const;
  Status Continue(int signal = 0);
  // Continue until the next entry or exit of a system call.
  Status ContinueToSystemCall();
  Status Detach();

 private:
  explicit TracedThread(pid_t id) : id_(id) {}
  pid_t id_;  // 0: none
};

}  // namespace stasis
