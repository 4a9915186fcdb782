// The cgroup of one container, on v1, v2 and the mixed layout, behind one interface. A container's group has
// the same path, "/stasis/ID", in every hierarchy (cgroups(7)). runc makes and removes it; this reads it,
// freezes it and lists its processes.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "base/status.h"
#include "linux/clock.h"

namespace stasis {

enum class CgroupLayout { kV1, kV2 };  // kV2: /sys/fs/cgroup itself is cgroup2; all else counts as v1

StatusOr<CgroupLayout> DetectCgroupLayout();

struct CgroupStats {
  uint64_t cpu_total_ns = 0;
  uint64_t cpu_user_ns = 0;
  uint64_t cpu_system_ns = 0;
  std::vector<uint64_t> cpu_per_core_ns;  // v1 only
  uint64_t throttled_periods = 0;
  uint64_t periods = 0;
  uint64_t throttled_ns = 0;
  uint64_t memory_usage = 0;  // bytes
  uint64_t memory_max_usage = 0;
  uint64_t memory_limit = 0;  // UINT64_MAX: none
  uint64_t memory_failures = 0;
  uint64_t memory_cache = 0;
  std::map<std::string, uint64_t> memory_stat;  // memory.stat as it is
  uint64_t pids_current = 0;
  uint64_t pids_limit = 0;  // 0: none
  struct BlockIo {
    uint64_t major = 0, minor = 0;
    std::string operation;  // "Read" or "Write"
    uint64_t value = 0;     // bytes
  };
  std::vector<BlockIo> io_bytes;
};

class Cgroup {
 public:
  // `path` begins with a slash and is relative to the root of each hierarchy. The group need not exist yet.
  static StatusOr<Cgroup> Open(const std::string& path);

  CgroupLayout layout() const { return layout_; }
  const std::string& path() const { return path_; }
  // The freezer's directory: /sys/fs/cgroup/freezer/PATH or /sys/fs/cgroup/PATH.
  std::string FreezerDirectory() const;

  // Freezes or thaws, and waits until the kernel says it is done. kDeadlineExceeded: a freeze that did not
  // come about is undone. Idempotent.
  Status Freeze(Deadline deadline, std::stop_token cancel) const;
  Status Thaw() const;
  StatusOr<bool> Frozen() const;

  // Pids in it and the groups below it, in our pid namespace.
  StatusOr<std::vector<pid_t>> Processes() const;
  // SIGKILL to all in it, thawed first, until none is left.
  Status KillAll(Deadline deadline) const;
  // Count of OOM kills so far: v1 memory.oom_control `oom_kill`, v2 memory.events `oom_kill`. 0 where the
  // group is gone.
  uint64_t OomKills() const;
  StatusOr<CgroupStats> Stats() const;
  // Removes the group in every hierarchy; not an error when it is gone. kFailedPrecondition when processes
  // are left.
  Status Remove() const;

 private:
  Cgroup(CgroupLayout layout, std::string path) : layout_(layout), path_(std::move(path)) {}
  std::string Directory(const std::string& controller) const;
  CgroupLayout layout_;
  std::string path_;
};

}  // namespace stasis
