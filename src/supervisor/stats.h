// What a container uses, as StatsResponse says it.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "linux/cgroup.h"
#include "types/api.pb.h"

namespace stasis::supervisor {

// From the cgroup and from /proc/PID/net/dev of the container's init; pid 0: no network part.
StatusOr<types::StatsResponse> CollectStats(const std::string& cgroup_path, pid_t init);

// The parts, for tests. `text` is that of /proc/PID/net/dev (proc_pid_net(5)); the loopback is left out.
void ParseNetDev(std::string_view text, types::StatsResponse* out);
void ToProto(const CgroupStats& stats, types::CgroupStats* out);
// CPU time of the whole machine, in ns, from the first line of /proc/stat.
uint64_t ParseSystemCpu(std::string_view stat, long ticks_per_second);

// Processors and memory of this machine.
types::Machine DescribeMachine();

}  // namespace stasis::supervisor
