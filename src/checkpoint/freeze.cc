#include "checkpoint/freeze.h"

#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <optional>

#include "base/log.h"
#include "linux/files.h"
#include "linux/proc.h"
#include "linux/process_handle.h"
#include "linux/traced_thread.h"
#include "linux/wait_clock.h"

namespace stasis::checkpoint {
namespace {

constexpr int kFreezes = 10;
constexpr std::chrono::milliseconds kExec{3000};  // for a child to come to its exec, or to end
constexpr std::chrono::milliseconds kLook{1};     // between looks at it

struct Vfork {
  pid_t parent = 0;
  pid_t child = 0;
};

bool ShareMemory(const Vfork& vfork) {
  return ::syscall(SYS_kcmp, vfork.parent, vfork.child, KCMP_VM, 0, 0) == 0;
}

// The processes that still have their parent's memory.
StatusOr<std::vector<Vfork>> FindVforks(const Cgroup& cgroup) {
  STASIS_ASSIGN_OR_RETURN(const std::vector<pid_t> processes, cgroup.Processes());
  std::vector<Vfork> vforks;
  for (const pid_t process : processes) {
    const auto stat = ReadProcessStat(process);
    if (!stat.ok() || stat->state == 'Z' || stat->parent == 0) continue;
    const Vfork vfork = {stat->parent, process};
    if (ShareMemory(vfork)) vforks.push_back(vfork);
  }
  return vforks;
}

void AwaitExec(const Vfork& vfork, Deadline deadline) {
  auto child = ProcessHandle::Open(vfork.child);
  while (child.ok() && ShareMemory(vfork) && std::chrono::steady_clock::now() < deadline) {
    child->WaitEnded(After(kLook), {}).IgnoreError();
  }
}

std::vector<pid_t> ThreadsOf(pid_t process) {
  return ListThreads(process).value_or(std::vector<pid_t>());  // it has ended
}

// By thread, since when.
using Waits = std::map<pid_t, std::chrono::nanoseconds>;

std::vector<BegunWait> LookAtWaits(const std::vector<criu::Process>& processes) {
  std::vector<BegunWait> waits;
  WaitClock clock;
  for (const criu::Process& process : processes) {
    for (const pid_t thread : ThreadsOf(process.pid)) {
      if (auto wait = clock.Look(thread)) waits.push_back(*wait);
    }
  }
  return waits;
}

// Those that the freeze has ended.
Waits Ended(const std::vector<BegunWait>& begun) {
  Waits waits;
  for (const BegunWait& wait : begun) {
    if (wait.WasStopped()) waits.emplace(wait.thread, wait.began);
  }
  return waits;
}

// Every other wait had begun when it was frozen.
Status WriteWaits(const Waits& waits, const std::string& file) {
  const std::chrono::nanoseconds now = std::chrono::steady_clock::now().time_since_epoch();
  std::string text = "0 " + std::to_string(now.count()) + "\n";
  for (const auto& [thread, began] : waits)
    text += std::to_string(thread) + " " + std::to_string(began.count()) + "\n";
  return WriteFileAtomically(file, text);
}

// The threads of these processes, asked to stop.
std::vector<TracedThread> Seize(const std::vector<pid_t>& processes) {
  std::vector<TracedThread> threads;
  for (const pid_t process : processes) {
    for (const pid_t thread : ThreadsOf(process)) {
      auto seized = TracedThread::Seize(thread, 0);
      if (!seized.ok() || !seized->Interrupt().ok()) continue;  // it has ended, or it is another's
      threads.push_back(*std::move(seized));
    }
  }
  return threads;
}

// They stop, and go on with their waits once they are let go.
Status Halt(std::vector<TracedThread>& threads, const Waits& waits, Deadline deadline) {
  for (TracedThread& thread : threads) {
    const Status halted = thread.AwaitHalt(deadline);
    if (absl::IsNotFound(halted)) continue;  // killed
    STASIS_RETURN_IF_ERROR(halted);
    const auto wait = waits.find(thread.id());
    STASIS_RETURN_IF_ERROR(
        thread.GoOnWaiting(wait == waits.end() ? std::nullopt : std::optional(wait->second)));
  }
  return absl::OkStatus();
}

// What is frozen goes on, its waits too. Children in a vfork first, since their parents cannot stop before
// that. These come second: while a thread is traced, the end of its child would be told to all that are let
// go already, and end their waits, even where nobody asked to be told (SIGCHLD ignored).
Status LetGoOn(const Cgroup& cgroup, const std::vector<Vfork>& vforks, const Waits& waits,
               Deadline deadline) {
  STASIS_ASSIGN_OR_RETURN(std::vector<pid_t> processes, cgroup.Processes());
  const auto is = [&](pid_t Vfork::*who) {
    return [&vforks, who](pid_t process) {
      return std::any_of(vforks.begin(), vforks.end(), [&](const Vfork& v) { return v.*who == process; });
    };
  };
  const auto others = std::stable_partition(processes.begin(), processes.end(), is(&Vfork::child));
  std::stable_partition(others, processes.end(), is(&Vfork::parent));
  std::vector<TracedThread> children = Seize({processes.begin(), others});
  std::vector<TracedThread> rest = Seize({others, processes.end()});
  STASIS_RETURN_IF_ERROR(cgroup.Thaw());
  STASIS_RETURN_IF_ERROR(Halt(children, waits, deadline));
  children.clear();
  return Halt(rest, waits, deadline);
}

Status InVfork(const Vfork& vfork) {
  auto name = ProcessName(vfork.parent);
  return Internal(
      "a process (" + (name.ok() ? Printable(*name, 64) : "") +
      ") is in the midst of a vfork, and cannot be stopped before its child has come to its exec");
}

}  // namespace

StatusOr<std::chrono::steady_clock::time_point> FreezeContainer(const Cgroup& cgroup, bool is_frozen,
                                                                const std::vector<criu::Process>& processes,
                                                                const std::string& waits_file,
                                                                Deadline deadline,
                                                                const std::stop_token& cancel) {
  for (int freeze = 1;; ++freeze) {
    const std::vector<BegunWait> begun = is_frozen ? std::vector<BegunWait>() : LookAtWaits(processes);
    const auto since = std::chrono::steady_clock::now();
    if (!is_frozen) {
      STASIS_RETURN_IF_ERROR(cgroup.Freeze(deadline, cancel));
    }
    const Waits waits = Ended(begun);
    STASIS_ASSIGN_OR_RETURN(const std::vector<Vfork> vforks, FindVforks(cgroup));
    if (vforks.empty()) {
      STASIS_RETURN_IF_ERROR(WriteWaits(waits, waits_file));
      return since;
    }
    if (freeze == kFreezes || is_frozen) return InVfork(vforks.front());
    const Deadline limit = std::min(deadline, After(kExec));
    const Status thawed = LetGoOn(cgroup, vforks, waits, limit);
    if (absl::IsDeadlineExceeded(thawed)) return InVfork(vforks.front());
    STASIS_RETURN_IF_ERROR(thawed);
    AwaitExec(vforks.front(), limit);
  }
}

Status ThawUnnoticed(const Cgroup& cgroup, Deadline deadline) {
  STASIS_ASSIGN_OR_RETURN(const bool frozen, cgroup.Frozen());
  return frozen ? LetGoOn(cgroup, {}, {}, deadline) : absl::OkStatus();
}

std::chrono::milliseconds FrozenLimit(const protocol::CheckpointRequest& request) {
  constexpr uint64_t kMost = 24ull * 3600 * 1000;  // what a label says may be any number
  return std::chrono::milliseconds(std::min(request.frozen_limit_ms, kMost));
}

Status FrozenTooLong(const protocol::CheckpointRequest& request, const std::string& meanwhile) {
  return DeadlineExceeded("the container stood still for " + std::to_string(request.frozen_limit_ms) +
                          " ms, the limit, " + meanwhile);
}

}  // namespace stasis::checkpoint
