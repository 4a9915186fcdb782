#include "linux/traced_thread.h"

#include <elf.h>
#include <fcntl.h>
#include <linux/rseq.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <string>
#include <utility>

#include "linux/files.h"
#include "linux/interrupted_wait.h"
#include "linux/proc.h"

namespace stasis {
namespace {

// Of ptrace(2); glibc 2.36 has no name for it.
constexpr int kGetRseqConfiguration = 0x420f;
struct RseqConfiguration {
  uint64_t area;
  uint32_t size;
  uint32_t signature;
  uint32_t flags;
  uint32_t padding;
};

sigset_t ChildSignal() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGCHLD);
  return set;
}

void* Number(uint64_t value) { return reinterpret_cast<void*>(value); }

Status Failed(std::string_view what, pid_t id) {
  return ErrnoError(errno, "ptrace " + std::string(what) + " " + std::to_string(id));
}

}  // namespace

Status BlockChildSignals() {
  const sigset_t set = ChildSignal();
  const int error = ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  return error == 0 ? absl::OkStatus() : ErrnoError(error, "pthread_sigmask");
}

StatusOr<TracedThread> TracedThread::Seize(pid_t id, uint64_t options) {
  if (::ptrace(PTRACE_SEIZE, id, nullptr, Number(options)) != 0) return Failed("seize", id);
  return TracedThread(id);
}

void TracedThread::Reap(pid_t id) {
  siginfo_t info = {};
  static_cast<void>(::waitid(P_PID, static_cast<id_t>(id), &info, WEXITED | __WALL | WNOHANG));
}

TracedThread& TracedThread::operator=(TracedThread&& other) noexcept {
  std::swap(id_, other.id_);
  return *this;
}

TracedThread::~TracedThread() {
  if (id_ != 0) ::ptrace(PTRACE_DETACH, id_, nullptr, nullptr);
}

Status TracedThread::SetOptions(uint64_t options) {
  if (::ptrace(PTRACE_SETOPTIONS, id_, nullptr, Number(options)) != 0) return Failed("setoptions", id_);
  return absl::OkStatus();
}

Status TracedThread::Interrupt() {
  if (::ptrace(PTRACE_INTERRUPT, id_, nullptr, nullptr) != 0) return Failed("interrupt", id_);
  return absl::OkStatus();
}

Status TracedThread::AwaitHalt(Deadline deadline) {
  for (;;) {
    STASIS_ASSIGN_OR_RETURN(const Stop stop, AwaitStop(deadline));
    if (stop.event == PTRACE_EVENT_STOP) return absl::OkStatus();
    STASIS_RETURN_IF_ERROR(Continue(stop.AtSignal() ? stop.signal : 0));
  }
}

StatusOr<TracedThread::Stop> TracedThread::AwaitStop(Deadline deadline) {
  const sigset_t child = ChildSignal();
  for (;;) {
    // Looked at before it is taken: once a stop for a signal is taken, the kernel has the signal from us
    // alone, and our death would lose it. Continue takes it too.
    siginfo_t info = {};
    if (::waitid(P_PID, static_cast<id_t>(id_), &info, WEXITED | WSTOPPED | __WALL | WNOHANG | WNOWAIT) !=
            0 &&
        errno != EINTR) {
      // In an execve(2) of a thread other than the first it gets the first one's id, which others wait for.
      if (errno != ECHILD) return Failed("wait", id_);
      const pid_t gone = std::exchange(id_, 0);
      return NotFound("thread " + std::to_string(gone) + " is not there");
    }
    if (info.si_pid == id_) {
      const bool stopped = info.si_code == CLD_TRAPPED || info.si_code == CLD_STOPPED;
      const Stop stop = {info.si_status & 0xff, info.si_status >> 8};
      if (stopped && stop.AtSignal()) return stop;
      static_cast<void>(::waitpid(id_, nullptr, __WALL | WNOHANG));
      if (stopped) return stop;
      const pid_t gone = std::exchange(id_, 0);
      return NotFound("thread " + std::to_string(gone) + " has ended");
    }
    // Sent at each stop of ours; one that came since we looked is pending.
    const int left = PollTimeout(deadline);
    if (left == 0) return DeadlineExceeded("thread " + std::to_string(id_) + " does not stop");
    const timespec limit = {left / 1000, left % 1000 * 1'000'000L};
    static_cast<void>(::sigtimedwait(&child, nullptr, left < 0 ? nullptr : &limit));
  }
}

StatusOr<user_regs_struct> TracedThread::Registers() const {
  user_regs_struct registers = {};
  iovec area = {&registers, sizeof registers};
  if (::ptrace(PTRACE_GETREGSET, id_, NT_PRSTATUS, &area) != 0) return Failed("getregset", id_);
  return registers;
}

Status TracedThread::SetRegisters(const user_regs_struct& registers) {
  user_regs_struct copy = registers;
  iovec area = {&copy, sizeof copy};
  if (::ptrace(PTRACE_SETREGSET, id_, NT_PRSTATUS, &area) != 0) return Failed("setregset", id_);
  return absl::OkStatus();
}

Status TracedThread::GoOnWaiting(std::optional<std::chrono::nanoseconds> began) {
  STASIS_ASSIGN_OR_RETURN(user_regs_struct registers, Registers());
  if (!StasisGoOnWaiting(&registers)) return absl::OkStatus();
  if (const int64_t all = StasisReadTimeOut(id_, &registers); began && all >= 0) {
    const std::chrono::nanoseconds waited = std::chrono::steady_clock::now().time_since_epoch() - *began;
    StasisSetTimeOut(id_, std::max<int64_t>(all - waited.count(), 0), &registers);
  }
  return SetRegisters(registers);
}

StatusOr<uint64_t> TracedThread::BlockedSignals() const {
  uint64_t signals = 0;
  if (::ptrace(PTRACE_GETSIGMASK, id_, Number(sizeof signals), &signals) != 0)
    return Failed("getsigmask", id_);
  return signals;
}

Status TracedThread::SetBlockedSignals(uint64_t signals) {
  if (::ptrace(PTRACE_SETSIGMASK, id_, Number(sizeof signals), &signals) != 0)
    return Failed("setsigmask", id_);
  return absl::OkStatus();
}

StatusOr<pid_t> TracedThread::NewThread() const {
  unsigned long message = 0;
  if (::ptrace(PTRACE_GETEVENTMSG, id_, nullptr, &message) != 0) return Failed("geteventmsg", id_);
  return static_cast<pid_t>(message);
}

StatusOr<uint64_t> TracedThread::RestartableSequenceAbort(uint64_t instruction) const {
  RseqConfiguration configuration = {};
  const long size = ::ptrace(static_cast<__ptrace_request>(kGetRseqConfiguration), id_, sizeof configuration,
                             &configuration);
  if (size < 0 && errno == EIO) return 0;
  if (size < 0) return Failed("get_rseq_configuration", id_);
  if (configuration.area == 0) return 0;
  STASIS_ASSIGN_OR_RETURN(UniqueFd memory, OpenFile(ProcPath(id_, "mem"), O_RDONLY));
  uint64_t descriptor = 0;
  if (::pread(memory.get(), &descriptor, sizeof descriptor,
              static_cast<off_t>(configuration.area + offsetof(struct rseq, rseq_cs))) != sizeof descriptor)
    return ErrnoError(errno, "read the rseq area of " + std::to_string(id_));
  if (descriptor == 0) return 0;
  struct rseq_cs sequence = {};
  if (::pread(memory.get(), &sequence, sizeof sequence, static_cast<off_t>(descriptor)) != sizeof sequence)
    return ErrnoError(errno, "read the rseq descriptor of " + std::to_string(id_));
  return instruction - sequence.start_ip < sequence.post_commit_offset ? sequence.abort_ip : 0;
}

Status TracedThread::Continue(int signal) {
  if (::ptrace(PTRACE_CONT, id_, nullptr, Number(static_cast<uint64_t>(signal))) != 0)
    return Failed("cont", id_);
  return absl::OkStatus();
}

Status TracedThread::ContinueToSystemCall() {
  if (::ptrace(PTRACE_SYSCALL, id_, nullptr, nullptr) != 0) return Failed("syscall", id_);
  return absl::OkStatus();
}

Status TracedThread::Detach() {
  const pid_t id = std::exchange(id_, 0);
  if (::ptrace(PTRACE_DETACH, id, nullptr, nullptr) != 0) return Failed("detach", id);
  return absl::OkStatus();
}

}  // namespace stasis
