// The cgroup of one container, on v1, v2 and the mixed layout, behind one interface. A container's group has
// the same path, "/stasis/ID", in every hierarchy (cgroups(7)). runc makes and removes it; this reads it,
// freezes it and lists its processes.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "linux/cgroup_stats.h"
#include "linux/clock.h"

namespace stasis {

enum class CgroupLayout { kV1, kV2 };  // kV2: /sys/fs/cgroup itself is cgroup2; all else counts as v1

StatusOr<CgroupLayout> DetectCgroupLayout();

// One limit of a group: its file, and what it says or is to say.
struct CgroupLimit {
  enum class Of { kMemory, kProcesses };  // bytes, or how many
  Of of = Of::kMemory;
  std::string file;  // absolute
  uint64_t value = 0;
};

// In this order. One of a group that is gone is none; the others are set whatever becomes of one.
Status SetLimits(const std::vector<CgroupLimit>& limits);

class Cgroup {
 public:
  // `path` begins with a slash and is relative to the root of each hierarchy. The group need not exist yet.
  // kInvalidArgument for the root itself and for ".." in it.
  static StatusOr<Cgroup> Open(const std::string& path);
  // The same where the layout is known and the hierarchies are mounted at `root`, e.g. a cgroup2 beside v1.
  static StatusOr<Cgroup> OpenAt(CgroupLayout layout, const std::string& root, const std::string& path);

  CgroupLayout layout() const { return layout_; }
  const std::string& path() const { return path_; }
  // The group's directory in every hierarchy there is, whether the group is there or not.
  StatusOr<std::vector<std::string>> Directories() const;
  // The freezer's directory: /sys/fs/cgroup/freezer/PATH or /sys/fs/cgroup/PATH.
  std::string FreezerDirectory() const;

  // Freezes or thaws, and waits until the kernel says it is done. kDeadlineExceeded: a freeze that did not
  // come about is undone. Idempotent. kNotFound where the group is gone. Adds to `thaws` how often the group
  // had to be thawed for a moment, because an attempt did not come about (TryFreeze).
  Status Freeze(Deadline deadline, std::stop_token cancel, uint64_t* thaws = nullptr) const;
  // One attempt. false: some of it stands still and some cannot, and the caller thaws it before the next
  // attempt. The freezer of v1 keeps even threads that were killed. So a thread in execve(2), which kills its
  // siblings and waits for their end, waits for ever where they were frozen before. v2 lets them end: there
  // one attempt lasts until the deadline. After an error it may be frozen in part, too.
  StatusOr<bool> TryFreeze(Deadline deadline, const std::stop_token& cancel) const;
  // How long what an attempt has kept from its end needs, at the least, before the next one.
  static constexpr std::chrono::milliseconds kBetweenAttempts{10};
  Status Thaw() const;
  StatusOr<bool> Frozen() const;

  // Pids in it and the groups below it, in our pid namespace.
  StatusOr<std::vector<pid_t>> Processes() const;
  // Takes a process out of the group into our own one, where hierarchies are apart (v1) out of the freezer's
  // and the pids' only: its memory stays the group's. On v2 it does nothing, since memory goes with the rest.
  Status TakeOut(pid_t process) const;
  // SIGKILL to all in it, frozen or not, until none is left (zombies do not count). It is thawed afterwards.
  Status KillAll(Deadline deadline) const;
  // Count of OOM kills so far: v1 memory.oom_control `oom_kill`, v2 memory.events `oom_kill`. 0 where the
  // group is gone.
  uint64_t OomKills() const;
  StatusOr<CgroupStats> Stats() const;
  // The limits that are set, in the order in which they can be lowered; raised they are in the opposite one.
  std::vector<CgroupLimit> Limits() const;
  // Removes the group in every hierarchy; not an error when it is gone. kFailedPrecondition when processes
  // are left.
  Status Remove() const;

 private:
  Cgroup(CgroupLayout layout, std::string root, std::string path)
      : layout_(layout), root_(std::move(root)), path_(std::move(path)) {}
  std::string Directory(std::string_view controller) const;
  Status WriteFrozen(bool frozen) const;
  Status WaitFrozen(bool frozen, Deadline deadline, std::stop_token cancel) const;
  Status KillOnce(Deadline deadline) const;
  CgroupLayout layout_;
  std::string root_;
  std::string path_;
};

}  // namespace stasis
