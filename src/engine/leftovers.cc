#include "engine/leftovers.h"

#include <chrono>

#include "base/log.h"
#include "linux/cgroup.h"
#include "linux/files.h"

namespace stasis::engine {
namespace {

constexpr std::chrono::seconds kKillLimit{10};

}  // namespace

std::string CgroupPath(const ContainerId& id) { return "/stasis/" + id.str(); }

bool HasCgroup(const ContainerId& id) {
  const StatusOr<Cgroup> cgroup = Cgroup::Open(CgroupPath(id));
  return cgroup.ok() && Exists(cgroup->FreezerDirectory());
}

Status EndLeftovers(const ContainerId& id) {
  STASIS_ASSIGN_OR_RETURN(const Cgroup cgroup, Cgroup::Open(CgroupPath(id)));
  STASIS_ASSIGN_OR_RETURN(const std::vector<pid_t> processes, cgroup.Processes());
  if (!processes.empty()) {
    spdlog::warn("container {}: {} processes are left of a run whose shim is gone: they are ended", id.str(),
                 processes.size());
  }
  // Thaws too, what holds no process any more as well: runc refuses a group that is frozen.
  STASIS_RETURN_IF_ERROR(Annotate(cgroup.KillAll(After(kKillLimit)), "end what is left of an earlier run"));
  return Annotate(cgroup.Remove(), "end what is left of an earlier run");
}

}  // namespace stasis::engine
