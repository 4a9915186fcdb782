// The one runner of other programs. A child is made by clone and exec with system calls only between (gRPC's
// core and malloc do not survive a fork of a threaded process), gets exactly the descriptors listed, default
// signal handlers and an empty signal mask, and is always reaped.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/status.h"
#include "linux/clock.h"
#include "linux/process_handle.h"
#include "linux/unique_fd.h"

namespace stasis {

// What to run. A plain value; descriptors in it are borrowed until Run or Spawn returns.
struct Command {
  std::vector<std::string> argv = {};           // argv[0] is a path; PATH is not searched
  std::map<std::string, std::string> env = {};  // the whole environment
  std::string directory = "/";                  // working directory
  // Child's descriptor -> ours. 0, 1 and 2 that are not listed become /dev/null, except that Run captures 1
  // and 2 itself. All others are closed.
  std::map<int, int> fds = {};
  std::string input = {};        // Run only: its stdin, as a file, when not empty
  bool new_session = false;      // setsid(2)
  bool die_with_parent = false;  // PR_SET_PDEATHSIG SIGKILL: dies with the *thread* that spawned it
  // `cgroup.procs` files, of v1 or v2, that it enters before exec.
  std::vector<std::string> cgroup_procs_files = {};
};

// Our environment's PATH with `overrides`; nothing else of ours reaches a child by accident.
std::map<std::string, std::string> BaseEnvironment(std::map<std::string, std::string> overrides = {});

struct CommandResult {
  ExitStatus exit;
  std::string output;      // stdout, at most output_limit bytes
  std::string error_tail;  // last 8 KiB of stderr
};

struct RunLimits {
  Deadline deadline = kNoDeadline;
  std::stop_token cancel = {};
  size_t output_limit = 16 << 20;
  std::chrono::milliseconds grace{2000};  // between SIGTERM and SIGKILL on deadline or cancel
};

// Runs to the end. Returns only after the child is reaped. A non-zero exit is a result, not an error.
// kDeadlineExceeded, kCancelled: it was ended by SIGTERM, after the grace by SIGKILL. kNotFound and others
// when it could not be executed; the message names the step. Output beyond the limit is read and thrown away.
// Grandchildren that keep stdout or stderr open do not hold it up once the child itself has ended.
StatusOr<CommandResult> Run(const Command& command, const RunLimits& limits);

// A child that runs beside us. The owner reaps it by Wait; one that still runs at the end of this object's
// life is killed and reaped, unless it was detached.
class Child {
 public:
  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;
  ~Child();

  // Valid after Wait too, for its pid.
  const ProcessHandle& process() const { return *process_; }
  // Waits and reaps; once, a second call is kFailedPrecondition. kDeadlineExceeded and kCancelled leave it
  // running.
  StatusOr<ExitStatus> Wait(Deadline deadline, std::stop_token cancel);
  // Kills (SIGKILL) and reaps. Nothing happens when it was reaped before. One that has not ended within 10 s
  // (uninterruptible sleep) is left to whoever reaps orphans.
  void Kill();
  // Somebody else reaps it: init, or a sub-reaper loop.
  ProcessHandle Detach() &&;

 private:
  friend StatusOr<Child> Spawn(const Command& command);
  explicit Child(ProcessHandle process) : process_(std::move(process)) {}
  StatusOr<ExitStatus> Reap();
  std::optional<ProcessHandle> process_;
  bool owned_ = true;  // still ours to reap
};

// Starts it. Returns once exec has succeeded, or with the error of the step that failed; kDeadlineExceeded
// when it has not come to exec within 30 s (a frozen cgroup, a dead file system). Needs Linux 5.11
// (close_range).
StatusOr<Child> Spawn(const Command& command);

// Orphans below this process become its children from now on (prctl(2), PR_SET_CHILD_SUBREAPER).
Status SetChildSubreaper();

}  // namespace stasis
