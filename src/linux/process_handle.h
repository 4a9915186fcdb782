// A process that is not mixed up with a later one of the same number: its pid and a pidfd (pidfd_open(2)).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <stop_token>
#include <string>

#include "base/status.h"
#include "linux/clock.h"
#include "linux/unique_fd.h"

namespace stasis {

// Names a process for good, across restarts of ours. pid 0: none.
struct ProcessIdentity {
  pid_t pid = 0;
  uint64_t start_time = 0;  // in clock ticks since boot
};
// kNotFound when there is no such process.
StatusOr<ProcessIdentity> IdentifyProcess(pid_t pid);

class ProcessHandle {
 public:
  // kNotFound when there is no such process.
  static StatusOr<ProcessHandle> Open(pid_t pid);
  // The very one: kNotFound when it has ended, whoever has its pid now.
  static StatusOr<ProcessHandle> Open(const ProcessIdentity& identity);
  // Takes a pidfd that clone(2) or SCM_RIGHTS gave for `pid`.
  static ProcessHandle Adopt(pid_t pid, UniqueFd pidfd) { return ProcessHandle(pid, std::move(pidfd)); }

  pid_t pid() const { return pid_; }
  int fd() const { return fd_.get(); }  // readable once the process has ended
  // pidfd_send_signal(2). kNotFound once it has been reaped.
  Status Signal(int signal) const;
  bool Ended() const;
  // Until it has ended (it may still be a zombie). Does not reap.
  Status WaitEnded(Deadline deadline, std::stop_token cancel) const;

 private:
  ProcessHandle(pid_t pid, UniqueFd fd) : pid_(pid), fd_(std::move(fd)) {}
  pid_t pid_;
  UniqueFd fd_;
};

// How a process ended, as wait(2) tells.
struct ExitStatus {
  int code = 0;    // exit code, where it exited
  int signal = 0;  // the signal that killed it, or 0
  // As a shell and Docker say it: the exit code, or 128 + signal.
  int ShellCode() const { return signal ? 128 + signal : code; }
};
ExitStatus DecodeWait(int wait_status);

// ProcessIdentity::start_time.
StatusOr<uint64_t> ProcessStartTime(pid_t pid);
// comm, as /proc/PID/comm has it.
StatusOr<std::string> ProcessName(pid_t pid);

}  // namespace stasis
