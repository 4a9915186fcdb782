// Copies of the processes of a container, made by fork(2) at one instant: the memory of that instant, to be
// read at leisure while the originals run on (docs/adr/0005). A twin has one thread, which never runs an
// instruction of the program's; it is a child of its original, traced by us, and dies with us.
//
// ptrace binds all of this to one OS thread, which holds SIGCHLD blocked (BlockChildSignals).
#pragma once

#include <sys/types.h>

#include <vector>

#include "base/status.h"
#include "checkpoint/injection.h"
#include "checkpoint/inner_losses.h"
#include "criu/losses.h"
#include "criu/processes.h"
#include "linux/cgroup.h"
#include "linux/clock.h"
#include "linux/traced_thread.h"
#include "linux/unique_fd.h"

namespace stasis::checkpoint {

struct Twin {
  pid_t original = 0;         // ours
  pid_t original_inside = 0;  // as the container sees it
  pid_t inside = 0;           // of the twin, as the container sees it
  TracedThread thread;
  UniqueFd memory = UniqueFd();   // its /proc/PID/mem, once it is quiet
  UniqueFd pagemap = UniqueFd();  // its /proc/PID/pagemap
};

class Twins {
 public:
  // Of all `processes`, which are the tree of a container that stands still in the frozen `cgroup`. It is
  // thawed on the way, and no process of the tree runs an instruction before all twins are there. Then all go
  // on. On any error the cgroup may still be frozen, and no twin is left. `cgroup` outlives them.
  static StatusOr<Twins> Make(const std::vector<criu::Process>& processes, const Cgroup& cgroup,
                              Deadline deadline);
  Twins(Twins&&) noexcept = default;
  Twins& operator=(Twins&&) = delete;
  ~Twins() { End(); }

  const std::vector<Twin>& all() const { return twins_; }

  // Takes from them what others could notice: descriptors, shared mappings, session and name.
  Status Quieten(Deadline deadline);
  // Once they are quiet: what a restore of the `processes` does not bring back, as far as the copies can
  // tell.
  Status FindLosses(const std::vector<criu::Process>& processes, Deadline deadline,
                    const InnerFindings& findings);
  // Kills them, and has their parents reap them; but not where the cgroup is frozen again: who stands still
  // could not be let go after it was asked to stop. ReapLeftTwins does it later.
  void End();

 private:
  explicit Twins(const Cgroup& cgroup) : cgroup_(&cgroup) {}
  const Cgroup* cgroup_;
  std::vector<Twin> twins_;
};

// Reaps those among `processes`, the tree of a container that is not frozen, that a checkpointer left.
// Returns how many.
int ReapLeftTwins(const std::vector<criu::Process>& processes);

}  // namespace stasis::checkpoint
