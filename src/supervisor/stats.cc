#include "supervisor/stats.h"

#include <unistd.h>

#include <sstream>

#include "linux/files.h"
#include "supervisor/event_log.h"

namespace stasis::supervisor {
namespace {

// On v2 there is no line "cache", but "file", which is the same.
uint64_t FromStat(const CgroupStats& stats, const char* name) {
  auto found = stats.memory_stat.find(name);
  return found == stats.memory_stat.end() ? 0 : found->second;
}

}  // namespace

void ParseNetDev(std::string_view text, types::StatsResponse* out) {
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    size_t colon = line.find(':');
    if (colon == std::string::npos) continue;  // the two lines of headings
    size_t begin = line.find_first_not_of(' ');
    std::string name = line.substr(begin, colon - begin);
    if (name == "lo") continue;
    std::istringstream fields(line.substr(colon + 1));
    uint64_t value[16] = {};
    for (uint64_t& field : value) fields >> field;
    if (!fields) continue;
    types::NetworkStats* stats = out->add_network_stats();
    stats->set_name(name);
    stats->set_rx_bytes(value[0]);
    stats->set_rx_packets(value[1]);
    stats->set_rx_errors(value[2]);
    stats->set_rx_dropped(value[3]);
    stats->set_tx_bytes(value[8]);
    stats->set_tx_packets(value[9]);
    stats->set_tx_errors(value[10]);
    stats->set_tx_dropped(value[11]);
  }
}

void ToProto(const CgroupStats& stats, types::CgroupStats* out) {
  types::CpuUsage* usage = out->mutable_cpu_stats()->mutable_cpu_usage();
  usage->set_total_usage(stats.cpu_total_ns);
  usage->set_usage_in_usermode(stats.cpu_user_ns);
  usage->set_usage_in_kernelmode(stats.cpu_system_ns);
  for (uint64_t core : stats.cpu_per_core_ns) usage->add_percpu_usage(core);
  types::ThrottlingData* throttling = out->mutable_cpu_stats()->mutable_throttling_data();
  throttling->set_periods(stats.periods);
  throttling->set_throttled_periods(stats.throttled_periods);
  throttling->set_throttled_time(stats.throttled_ns);

  types::MemoryStats* memory = out->mutable_memory_stats();
  memory->set_cache(stats.memory_cache);
  memory->mutable_usage()->set_usage(stats.memory_usage);
  memory->mutable_usage()->set_max_usage(stats.memory_max_usage);
  memory->mutable_usage()->set_failcnt(stats.memory_failures);
  memory->mutable_usage()->set_limit(stats.memory_limit);
  memory->mutable_swap_usage()->set_usage(FromStat(stats, "swap"));
  for (const auto& [name, value] : stats.memory_stat) (*memory->mutable_stats())[name] = value;

  out->mutable_pids_stats()->set_current(stats.pids_current);
  out->mutable_pids_stats()->set_limit(stats.pids_limit);
  for (const CgroupStats::BlockIo& io : stats.io_bytes) {
    types::BlkioStatsEntry* entry = out->mutable_blkio_stats()->add_io_service_bytes_recursive();
    entry->set_major(io.major);
    entry->set_minor(io.minor);
    entry->set_op(io.operation);
    entry->set_value(io.value);
  }
}

uint64_t ParseSystemCpu(std::string_view stat, long ticks_per_second) {
  std::istringstream fields{std::string(stat.substr(0, stat.find('\n')))};
  std::string label;
  fields >> label;
  if (label != "cpu" || ticks_per_second <= 0) return 0;
  // user nice system idle iowait irq softirq steal; guest time is in user already.
  uint64_t ticks = 0, value = 0;
  for (int field = 0; field < 8 && fields >> value; ++field) ticks += value;
  return ticks * (1'000'000'000 / static_cast<uint64_t>(ticks_per_second));
}

StatusOr<types::StatsResponse> CollectStats(const std::string& cgroup_path, pid_t init) {
  STASIS_ASSIGN_OR_RETURN(Cgroup cgroup, Cgroup::Open(cgroup_path));
  STASIS_ASSIGN_OR_RETURN(CgroupStats stats, cgroup.Stats());
  types::StatsResponse response;
  ToProto(stats, response.mutable_cgroup_stats());
  if (StatusOr<std::string> stat = ReadFile("/proc/stat"); stat.ok()) {
    response.mutable_cgroup_stats()->mutable_cpu_stats()->set_system_usage(
        ParseSystemCpu(*stat, ::sysconf(_SC_CLK_TCK)));
  }
  if (init > 0) {
    auto net = ReadFile("/proc/" + std::to_string(init) + "/net/dev", 1 << 20);
    if (net.ok()) ParseNetDev(*net, &response);  // init may have just ended
  }
  ToProto(absl::Now(), response.mutable_timestamp());
  return response;
}

types::Machine DescribeMachine() {
  types::Machine machine;
  machine.set_cpus(static_cast<uint32_t>(::sysconf(_SC_NPROCESSORS_ONLN)));
  auto bytes =
      static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  machine.set_memory(bytes >> 20);
  return machine;
}

}  // namespace stasis::supervisor
