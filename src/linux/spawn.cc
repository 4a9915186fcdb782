// Spawn: from clone to exec. The child is a copy of a process with threads, whose locks (malloc's, gRPC's)
// may be held by threads that the copy lacks: between clone and exec it makes bare system calls only. Even
// libc's wrappers are avoided, because the sanitizers put locks of their own around some of them.
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "linux/cancel.h"
#include "linux/files.h"
#include "linux/subprocess.h"
#include "linux/unix_socket.h"

namespace stasis {
namespace {

constexpr std::chrono::seconds kExecLimit{30};

enum Step : int {
  kMoveFds,
  kResetSignals,
  kNewSession,
  kDeathSignal,
  kParentDied,
  kCgroup,
  kCloseFds,
  kChdir,
  kExec
};

constexpr const char* kStepNames[] = {"descriptors",      "reset signals", "setsid",
                                      "PR_SET_PDEATHSIG", "parent died",   "enter cgroup",
                                      "close_range",      "chdir",         "exec"};

// What the child tells through the error pipe; exec closes it, so nothing means success.
struct Failure {
  int step;
  int error;
};

struct FdMove {
  int from;
  int to;
  int aside = -1;
};

// All the child needs, laid out by the parent beforehand.
struct SpawnPlan {
  std::vector<char*> argv;
  std::vector<char*> envp;
  std::vector<const char*> cgroup_files;
  std::vector<FdMove> moves;  // by ascending `to`
  const char* directory = nullptr;
  int error_fd = -1;
  int parent = 0;
  bool new_session = false;
  bool die_with_parent = false;
  // Storage behind the pointers.
  std::vector<std::string> environment;
  UniqueFd null;
};

// --- In the child

[[noreturn]] void Fail(const SpawnPlan& plan, Step step, int error) {
  Failure failure = {step, error};
  ::syscall(SYS_write, plan.error_fd, &failure, sizeof failure);
  for (;;) ::syscall(SYS_exit_group, 127);
}

void ResetSignals(const SpawnPlan& plan) {
  // The kernel's struct sigaction, all zero: SIG_DFL, no flags, an empty mask, no restorer.
  unsigned long action[4] = {};
  constexpr int kSignals = 64;
  for (int signal = 1; signal <= kSignals; ++signal) {
    if (signal == SIGKILL || signal == SIGSTOP) continue;
    if (::syscall(SYS_rt_sigaction, signal, action, nullptr, kSignals / 8) != 0)
      Fail(plan, kResetSignals, errno);
  }
  unsigned long mask = 0;
  if (::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, nullptr, sizeof mask) != 0)
    Fail(plan, kResetSignals, errno);
}

// Sources and targets may overlap in any way: all sources go above the highest target first, then down.
void LayOutFds(SpawnPlan& plan) {
  int above = plan.moves.back().to + 1;
  auto copy_above = [&](int fd) {
    long copy = ::syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, above);
    if (copy < 0) Fail(plan, kMoveFds, errno);
    return static_cast<int>(copy);
  };
  plan.error_fd = copy_above(plan.error_fd);
  for (FdMove& move : plan.moves) move.aside = copy_above(move.from);
  int next = 0;
  for (const FdMove& move : plan.moves) {
    if (::syscall(SYS_dup3, move.aside, move.to, 0) < 0) Fail(plan, kMoveFds, errno);
    if (move.to > next && ::syscall(SYS_close_range, next, move.to - 1, 0) != 0) Fail(plan, kCloseFds, errno);
    next = move.to + 1;
  }
  // Closed now and not by exec, except the error pipe: a child held up below must not keep a pipe of another
  // alive.
  long below = plan.error_fd == above ? 0 : ::syscall(SYS_close_range, above, plan.error_fd - 1, 0);
  if (below != 0 || ::syscall(SYS_close_range, plan.error_fd + 1, ~0U, 0) != 0) Fail(plan, kCloseFds, errno);
}

void EnterCgroups(const SpawnPlan& plan) {
  for (const char* file : plan.cgroup_files) {
    long fd = ::syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0) Fail(plan, kCgroup, errno);
    if (::syscall(SYS_write, fd, "0", 1) != 1) Fail(plan, kCgroup, errno);  // "0": the one who writes
    ::syscall(SYS_close, fd);
  }
}

[[noreturn]] void ChildMain(SpawnPlan& plan) {
  LayOutFds(plan);
  if (plan.die_with_parent) {
    if (::syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) Fail(plan, kDeathSignal, errno);
    // It may have died before that call; then another is our parent by now.
    if (::syscall(SYS_getppid) != plan.parent) Fail(plan, kParentDied, ESRCH);
  }
  if (plan.new_session && ::syscall(SYS_setsid) < 0) Fail(plan, kNewSession, errno);
  EnterCgroups(plan);
  if (::syscall(SYS_chdir, plan.directory) != 0) Fail(plan, kChdir, errno);
  // Until here all signals are blocked, so that no handler of ours ran in the copy.
  ResetSignals(plan);
  ::syscall(SYS_execve, plan.argv[0], plan.argv.data(), plan.envp.data());
  Fail(plan, kExec, errno);
}

// --- In the parent

Status CheckTexts(const Command& command) {
  if (command.argv.empty() || command.argv[0].empty()) return InvalidArgument("run: no program named");
  auto has_zero = [](const std::string& text) { return text.find('\0') != text.npos; };
  bool bad = std::any_of(command.argv.begin(), command.argv.end(), has_zero) || has_zero(command.directory);
  for (const auto& [key, value] : command.env) {
    bad = bad || has_zero(key) || has_zero(value) || key.empty() || key.find('=') != key.npos;
  }
  if (bad) return InvalidArgument("run " + command.argv[0] + ": a text that cannot be handed to exec");
  return absl::OkStatus();
}

// Keeps pointers into `command`.
StatusOr<SpawnPlan> MakePlan(const Command& command) {
  STASIS_RETURN_IF_ERROR(CheckTexts(command));
  SpawnPlan plan;
  for (const std::string& word : command.argv) plan.argv.push_back(const_cast<char*>(word.c_str()));
  plan.argv.push_back(nullptr);
  for (const auto& [key, value] : command.env) plan.environment.push_back(key + "=" + value);
  for (std::string& entry : plan.environment) plan.envp.push_back(entry.data());
  plan.envp.push_back(nullptr);
  for (const std::string& file : command.cgroup_procs_files) plan.cgroup_files.push_back(file.c_str());
  plan.directory = command.directory.c_str();
  plan.new_session = command.new_session;
  plan.die_with_parent = command.die_with_parent;
  plan.parent = ::getpid();
  STASIS_ASSIGN_OR_RETURN(plan.null, OpenFile("/dev/null", O_RDWR));
  std::map<int, int> fds = {{0, plan.null.get()}, {1, plan.null.get()}, {2, plan.null.get()}};
  for (const auto& [target, source] : command.fds) fds[target] = source;
  for (const auto& [target, source] : fds) {
    if (target < 0 || source < 0) return InvalidArgument("run " + command.argv[0] + ": no such descriptor");
    plan.moves.push_back({.from = source, .to = target});
  }
  return plan;
}

// clone3 with all signals blocked, so that the copy never runs a handler of ours. Returns only in the parent.
StatusOr<ProcessHandle> Clone(SpawnPlan& plan) {
  int pidfd = -1;
  clone_args args = {};
  args.flags = CLONE_PIDFD;
  args.pidfd = reinterpret_cast<uintptr_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  unsigned long all = ~0UL;
  unsigned long before = 0;
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
  long pid = ::syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) ChildMain(plan);
  int error = errno;
  ::syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, nullptr, sizeof before);
  if (pid < 0) return ErrnoError(error, "clone3");
  return ProcessHandle::Adopt(static_cast<pid_t>(pid), UniqueFd(pidfd));
}

std::string FailedObject(const Command& command, int step) {
  if (step == kExec) return command.argv[0];
  if (step == kChdir) return command.directory;
  return "for " + command.argv[0];
}

Status AwaitExec(const Command& command, int error_pipe) {
  Failure failure = {};
  Status read = ReadExactly(error_pipe, &failure, sizeof failure, After(kExecLimit), {});
  if (read.code() == StatusCode::kUnavailable) return absl::OkStatus();  // closed by exec
  if (!read.ok()) return Annotate(read, "start " + command.argv[0]);
  return ErrnoError(failure.error,
                    std::string(kStepNames[failure.step]) + " " + FailedObject(command, failure.step));
}

}  // namespace

StatusOr<Child> Spawn(const Command& command) {
  STASIS_ASSIGN_OR_RETURN(SpawnPlan plan, MakePlan(command));
  STASIS_ASSIGN_OR_RETURN(Pipe errors, MakePipe());
  plan.error_fd = errors.write_end.get();
  STASIS_ASSIGN_OR_RETURN(ProcessHandle process, Clone(plan));
  Child child(std::move(process));  // killed and reaped on the error below
  errors.write_end.reset();
  STASIS_RETURN_IF_ERROR(AwaitExec(command, errors.read_end.get()));
  return child;
}

}  // namespace stasis
