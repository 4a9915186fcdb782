#include "checkpoint/twins.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "checkpoint/inner_losses.h"
#include "linux/files.h"
#include "linux/interrupted_wait.h"
#include "linux/memory_mapping.h"
#include "linux/proc.h"

namespace stasis::checkpoint {
namespace {

constexpr std::chrono::seconds kReap{2};  // for its parent to stop, and to reap it

constexpr uint64_t kOptions = PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACESYSGOOD;

// A process whose threads we hold; the first is its leader.
struct Held {
  const criu::Process* process = nullptr;
  std::vector<TracedThread> threads;
};

StatusOr<Held> Hold(const criu::Process& process) {
  Held held = {&process, {}};
  STASIS_ASSIGN_OR_RETURN(const std::vector<pid_t> threads, ListThreads(process.pid));
  for (const pid_t id : threads) {
    // Another's filter must not forbid our calls; only the leader makes any.
    const uint64_t options = id == process.pid ? kOptions | PTRACE_O_SUSPEND_SECCOMP : kOptions;
    STASIS_ASSIGN_OR_RETURN(TracedThread thread, TracedThread::Seize(id, options));
    STASIS_RETURN_IF_ERROR(thread.Interrupt());
    held.threads.push_back(std::move(thread));
    if (id == process.pid) std::swap(held.threads.front(), held.threads.back());
  }
  if (held.threads.empty() || held.threads.front().id() != process.pid)
    return FailedPrecondition("its first thread has ended");
  return held;
}

// Since it was looked at: a zombie now.
bool HasEnded(const criu::Process& process) {
  const auto stat = ReadProcessStat(process.pid);
  return stat.ok() && stat->state == 'Z';
}

// Whatever becomes of it, a twin that is there is among `twins`, and so is not left behind.
Status MakeTwin(Held& held, Deadline deadline, std::vector<Twin>* twins) {
  STASIS_ASSIGN_OR_RETURN(const user_regs_struct registers, held.threads.front().Registers());
  if (!StasisIs64Bit(&registers)) return FailedPrecondition("it runs 32-bit code");
  STASIS_ASSIGN_OR_RETURN(Injection injection, Injection::Prepare(held.process->pid));
  for (TracedThread& thread : held.threads) STASIS_RETURN_IF_ERROR(injection.Settle(thread));
  STASIS_ASSIGN_OR_RETURN(Injection::Twin made, injection.Clone(held.threads.front(), deadline));
  twins->push_back({.original = held.process->pid,
                    .original_inside = held.process->inside,
                    .inside = made.inside,
                    .thread = std::move(made.thread)});
  return absl::OkStatus();
}

Status UnmapShared(pid_t twin, Injection& injection, TracedThread& thread, Deadline deadline) {
  STASIS_ASSIGN_OR_RETURN(const std::vector<MemoryMapping> mappings, ReadMemoryMappings(twin));
  for (const MemoryMapping& mapping : mappings) {
    if (!mapping.shared) continue;
    const SystemCall unmap = {.number = SYS_munmap, .arguments = {mapping.range.begin, mapping.range.size()}};
    STASIS_RETURN_IF_ERROR(injection.Call(thread, unmap, deadline).status());
  }
  return absl::OkStatus();
}

Status QuietenOne(Twin& twin, const Cgroup& cgroup, Deadline deadline) {
  const pid_t id = twin.thread.id();
  STASIS_RETURN_IF_ERROR(cgroup.TakeOut(id));
  STASIS_ASSIGN_OR_RETURN(Injection injection, Injection::Prepare(id));
  for (const SystemCall& call : {SystemCall{.number = SYS_close_range, .arguments = {0, ~0u, 0}},
                                 SystemCall{.number = SYS_setsid, .arguments = {}}}) {
    STASIS_RETURN_IF_ERROR(injection.Call(twin.thread, call, deadline).status());
  }
  STASIS_RETURN_IF_ERROR(injection.Rename(twin.thread, deadline));
  STASIS_RETURN_IF_ERROR(UnmapShared(id, injection, twin.thread, deadline));
  STASIS_ASSIGN_OR_RETURN(twin.memory, OpenFile(ProcPath(id, "mem"), O_RDONLY));
  STASIS_ASSIGN_OR_RETURN(twin.pagemap, OpenFile(ProcPath(id, "pagemap"), O_RDONLY));
  return absl::OkStatus();
}

// A process waits for one of its children, which has ended already.
Status Reap(pid_t process, pid_t child_inside) {
  const Deadline deadline = After(kReap);
  STASIS_ASSIGN_OR_RETURN(StoppedCaller caller, StoppedCaller::Stop(process, deadline));
  const SystemCall wait = {
      .number = SYS_wait4,
      .arguments = {static_cast<uint64_t>(child_inside), 0, static_cast<uint64_t>(__WALL) | WNOHANG, 0}};
  STASIS_RETURN_IF_ERROR(caller.injection.Call(caller.thread, wait, deadline).status());
  return caller.thread.Detach();
}

// One that was killed and tells nobody of its end, as no program's own child does.
bool IsLeftTwin(const criu::Process& process) {
  if (process.state != 'Z') return false;
  const auto stat = ReadProcessStat(process.pid);
  return stat.ok() && stat->exit_signal == 0 && stat->exit_code == SIGKILL;
}

}  // namespace

StatusOr<Twins> Twins::Make(const std::vector<criu::Process>& processes, const Cgroup& cgroup,
                            Deadline deadline) {
  std::vector<Held> all;
  for (const criu::Process& process : processes) {
    if (process.state == 'Z') continue;  // it has no memory
    auto held = Hold(process);
    if (!held.ok() && HasEnded(process)) continue;
    if (!held.ok()) return Annotate(held.status(), "hold " + criu::Label(process));
    all.push_back(*std::move(held));
  }
  STASIS_RETURN_IF_ERROR(cgroup.Thaw());
  for (Held& held : all) {
    for (TracedThread& thread : held.threads) {
      STASIS_RETURN_IF_ERROR(thread.AwaitHalt(deadline));
      STASIS_RETURN_IF_ERROR(thread.GoOnWaiting(std::nullopt));
    }
  }
  Twins twins(cgroup);
  for (Held& held : all) {
    const Status made = MakeTwin(held, deadline, &twins.twins_);
    if (!made.ok()) {
      const Status why = Annotate(made, "copy " + criu::Label(*held.process));
      all.clear();  // they go on; only then can they reap
      return why;
    }
  }
  all.clear();
  return twins;
}

Status Twins::Quieten(Deadline deadline) {
  // Where memory runs short they go first.
  for (const Twin& twin : twins_)
    STASIS_RETURN_IF_ERROR(WriteControlFile(ProcPath(twin.thread.id(), "oom_score_adj"), "1000"));
  for (Twin& twin : twins_) {
    Status status = QuietenOne(twin, *cgroup_, deadline);
    if (!status.ok()) return Annotate(status, "the copy of process " + std::to_string(twin.original_inside));
  }
  return absl::OkStatus();
}

Status Twins::FindLosses(const std::vector<criu::Process>& processes, Deadline deadline,
                         const InnerFindings& findings) {
  for (Twin& twin : twins_) {
    const auto original = std::find_if(processes.begin(), processes.end(), [&](const criu::Process& process) {
      return process.pid == twin.original;
    });
    if (original == processes.end()) continue;
    criu::FindMemoryLosses(*original, twin.thread.id(), findings.losses);
    STASIS_ASSIGN_OR_RETURN(Injection injection, Injection::Prepare(twin.thread.id()));
    STASIS_RETURN_IF_ERROR(FindInnerLosses(*original, injection, twin.thread, deadline, findings));
    if (!original->may_be_restricted) continue;
    STASIS_RETURN_IF_ERROR(FindLandlock(*original, injection, twin.thread, deadline, findings.losses));
  }
  return absl::OkStatus();
}

void Twins::End() {
  for (Twin& twin : twins_) KillTwin(twin.thread);
  if (!twins_.empty() && !cgroup_->Frozen().value_or(false)) {
    for (const Twin& twin : twins_) Reap(twin.original, twin.inside).IgnoreError();
  }
  twins_.clear();
}

int ReapLeftTwins(const std::vector<criu::Process>& processes) {
  int reaped = 0;
  for (const criu::Process& process : processes) {
    if (IsLeftTwin(process) && Reap(process.parent, process.inside).ok()) ++reaped;
  }
  return reaped;
}

}  // namespace stasis::checkpoint
