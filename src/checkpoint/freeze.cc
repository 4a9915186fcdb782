#include "checkpoint/freeze.h"

#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "base/log.h"
#include "linux/cancel.h"
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
constexpr std::chrono::milliseconds kSeize{500};  // for all threads to be seized

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

// Whether it is in the midst of an execve, or of its end: then one of its threads is killed already. Nobody
// waits in it, and it cannot be seized before it goes on: the kernel lets nobody attach while it executes.
bool IsReplaced(pid_t process) {
  const std::vector<pid_t> threads = ThreadsOf(process);
  return std::any_of(threads.begin(), threads.end(), [](pid_t thread) {
    const auto killed = IsKilled(thread);
    return killed.ok() && *killed;
  });
}

// Stands by while the threads of a half frozen group are seized. A seize waits for an exec that has just
// begun, and that one for the end of its siblings: for the thaw, and, of those that are seized already, until
// somebody has reaped them. After `limit` it does both. The waits that such a thaw ends are not mended.
class SeizeGuard {
 public:
  SeizeGuard(const Cgroup& cgroup, std::chrono::milliseconds limit)
      : thread_([this, &cgroup, limit](const std::stop_token& in_time) { Stand(cgroup, limit, in_time); }) {}
  void NoteSeized(pid_t thread) {
    const std::lock_guard lock(mutex_);
    seized_.push_back(thread);
  }

 private:
  void Stand(const Cgroup& cgroup, std::chrono::milliseconds limit, const std::stop_token& in_time) {
    if (!absl::IsDeadlineExceeded(WaitFor(-1, 0, After(limit), in_time).status())) return;
    spdlog::warn("threads could not be seized before the thaw: they may see an interrupted wait");
    cgroup.Thaw().IgnoreError();  // whoever seizes thaws as well, and sees the error
    while (absl::IsDeadlineExceeded(WaitFor(-1, 0, After(kLook), in_time).status())) {
      const std::lock_guard lock(mutex_);
      // Those that have ended; whoever waits for them afterwards is told that they are not there.
      for (const pid_t thread : seized_) TracedThread::Reap(thread);
    }
  }

  std::mutex mutex_;
  std::vector<pid_t> seized_;  // guarded by mutex_
  std::jthread thread_;        // last: it uses the others
};

// The threads of these processes, asked to stop.
std::vector<TracedThread> Seize(const std::vector<pid_t>& processes, SeizeGuard& guard) {
  std::vector<TracedThread> threads;
  for (const pid_t process : processes) {
    for (const pid_t thread : ThreadsOf(process)) {
      auto seized = TracedThread::Seize(thread, 0);
      if (!seized.ok()) continue;  // it has ended, or it is another's
      guard.NoteSeized(thread);
      if (!seized->Interrupt().ok()) continue;
      threads.push_back(*std::move(seized));
    }
  }
  return threads;
}

// What is frozen goes on, its waits too. Children in a vfork first, since their parents cannot stop before
// that. These come second: while a thread is traced, the end of its child would be told to all that are let
// go already, and end their waits, even where nobody asked to be told (SIGCHLD ignored).
Status LetGoOn(const Cgroup& cgroup, const std::vector<Vfork>& vforks, const Waits& waits,
               Deadline deadline) {
  STASIS_ASSIGN_OR_RETURN(std::vector<pid_t> processes, cgroup.Processes());
  std::erase_if(processes, IsReplaced);
  const auto is = [&](pid_t Vfork::*who) {
    return [&vforks, who](pid_t process) {
      return std::any_of(vforks.begin(), vforks.end(), [&](const Vfork& v) { return v.*who == process; });
    };
  };
  const auto others = std::stable_partition(processes.begin(), processes.end(), is(&Vfork::child));
  std::stable_partition(others, processes.end(), is(&Vfork::parent));
  std::optional<SeizeGuard> guard(std::in_place, cgroup, kSeize);
  std::vector<TracedThread> children = Seize({processes.begin(), others}, *guard);
  std::vector<TracedThread> rest = Seize({others, processes.end()}, *guard);
  guard.reset();
  STASIS_RETURN_IF_ERROR(cgroup.Thaw());
  STASIS_RETURN_IF_ERROR(Halt(children, waits, deadline));
  children.clear();
  return Halt(rest, waits, deadline);
}

// Half frozen, and what keeps it from a stop is somebody who waits for one that stands still.
Status LetGoOnForAMoment(const Cgroup& cgroup, const std::vector<BegunWait>& begun, Deadline deadline,
                         const std::stop_token& cancel) {
  STASIS_RETURN_IF_ERROR(
      Annotate(LetGoOn(cgroup, {}, Ended(begun), deadline), "a container that does not come to a stop"));
  const Status waited = WaitFor(-1, 0, std::min(deadline, After(Cgroup::kBetweenAttempts)), cancel).status();
  return absl::IsDeadlineExceeded(waited) ? absl::OkStatus() : waited;
}

Status InVfork(const Vfork& vfork) {
  auto name = ProcessName(vfork.parent);
  return Internal(
      "a process (" + (name.ok() ? Printable(*name, 64) : "") +
      ") is in the midst of a vfork, and cannot be stopped before its child has come to its exec");
}

}  // namespace

StatusOr<Freeze> FreezeContainer(const Cgroup& cgroup, bool is_frozen,
                                 const std::vector<criu::Process>& processes, const std::string& waits_file,
                                 Deadline deadline, const std::stop_token& cancel) {
  int vfork_freezes = 0;
  for (Freeze freeze;; ++freeze.thaws) {
    const std::vector<BegunWait> begun = is_frozen ? std::vector<BegunWait>() : LookAtWaits(processes);
    freeze.since = std::chrono::steady_clock::now();
    bool stands = true;
    if (!is_frozen) {
      STASIS_ASSIGN_OR_RETURN(stands, cgroup.TryFreeze(deadline, cancel));
    }
    if (!stands) {
      STASIS_RETURN_IF_ERROR(LetGoOnForAMoment(cgroup, begun, deadline, cancel));
      continue;
    }
    const Waits waits = Ended(begun);
    STASIS_ASSIGN_OR_RETURN(const std::vector<Vfork> vforks, FindVforks(cgroup));
    if (vforks.empty()) {
      STASIS_RETURN_IF_ERROR(WriteWaits(waits, waits_file));
      return freeze;
    }
    if (++vfork_freezes == kFreezes || is_frozen) return InVfork(vforks.front());
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
