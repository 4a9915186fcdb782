#include "linux/process_handle.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "linux/cancel.h"
#include "linux/files.h"
#include "linux/proc.h"

namespace stasis {
namespace {

constexpr size_t kMaxName = 4096;

}  // namespace

StatusOr<ProcessHandle> ProcessHandle::Open(pid_t pid) {
  // By number: <sys/pidfd.h> of glibc 2.36 cannot be used from C++. The descriptor has O_CLOEXEC by itself.
  UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!fd.valid()) return ErrnoError(errno, "pidfd_open " + std::to_string(pid));
  return ProcessHandle(pid, std::move(fd));
}

StatusOr<ProcessHandle> ProcessHandle::Open(const ProcessIdentity& identity) {
  STASIS_ASSIGN_OR_RETURN(ProcessHandle handle, Open(identity.pid));
  STASIS_ASSIGN_OR_RETURN(const uint64_t now, ProcessStartTime(identity.pid));
  if (now == identity.start_time && !handle.Ended()) return handle;
  return NotFound("process " + std::to_string(identity.pid) + " has ended");
}

Status ProcessHandle::Signal(int signal) const {
  if (::syscall(SYS_pidfd_send_signal, fd_.get(), signal, nullptr, 0) == 0) return absl::OkStatus();
  return ErrnoError(errno, "pidfd_send_signal " + std::to_string(pid_));
}

bool ProcessHandle::Ended() const { return WaitFor(fd_.get(), POLLIN, Deadline::min(), {}).ok(); }

Status ProcessHandle::WaitEnded(Deadline deadline, std::stop_token cancel) const {
  return Annotate(WaitFor(fd_.get(), POLLIN, deadline, std::move(cancel)).status(),
                  "wait for process " + std::to_string(pid_));
}

ExitStatus DecodeWait(int wait_status) {
  if (WIFSIGNALED(wait_status)) return {.code = 0, .signal = WTERMSIG(wait_status)};
  return {.code = WEXITSTATUS(wait_status), .signal = 0};
}

StatusOr<uint64_t> ProcessStartTime(pid_t pid) {
  STASIS_ASSIGN_OR_RETURN(const ProcessStat stat, ReadProcessStat(pid));
  return stat.start_time;
}

StatusOr<ProcessIdentity> IdentifyProcess(pid_t pid) {
  STASIS_ASSIGN_OR_RETURN(const uint64_t start_time, ProcessStartTime(pid));
  return ProcessIdentity{pid, start_time};
}

StatusOr<std::string> ProcessName(pid_t pid) {
  STASIS_ASSIGN_OR_RETURN(std::string name, ReadFile(ProcPath(pid, "comm"), kMaxName));
  if (!name.empty() && name.back() == '\n') name.pop_back();
  return name;
}

}  // namespace stasis
