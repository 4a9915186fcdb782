#include "linux/cgroup_stats.h"

#include <charconv>
#include <limits>

namespace stasis {
namespace {

constexpr uint64_t kSecond = 1000000000;
constexpr uint64_t kMicrosecond = 1000;
constexpr uint64_t kNone = std::numeric_limits<uint64_t>::max();
// v1 shows "no limit" as the greatest multiple of a page: take all that no machine has as none.
constexpr uint64_t kV1NoLimit = 0x7fffffff00000000;

// Cuts the text before `separator` off the front of `text`.
std::string_view Next(std::string_view& text, char separator) {
  size_t end = text.find(separator);
  std::string_view part = text.substr(0, end);
  text.remove_prefix(end == text.npos ? text.size() : end + 1);
  return part;
}

// 0 for what is no number; "max" is kNone.
uint64_t Number(std::string_view text) {
  text = text.substr(0, text.find_first_of(" \n"));
  if (text == "max") return kNone;
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? value : 0;
}

bool ParseDevice(std::string_view text, CgroupStats::BlockIo* io) {
  size_t colon = text.find(':');
  if (colon == text.npos) return false;
  io->major = Number(text.substr(0, colon));
  io->minor = Number(text.substr(colon + 1));
  return true;
}

// Lines of "8:0 Read 4096".
std::vector<CgroupStats::BlockIo> ParseBlkio(std::string_view text) {
  std::vector<CgroupStats::BlockIo> out;
  while (!text.empty()) {
    std::string_view line = Next(text, '\n');
    CgroupStats::BlockIo io;
    if (!ParseDevice(Next(line, ' '), &io)) continue;
    io.operation = Next(line, ' ');
    io.value = Number(line);
    if (io.operation == "Read" || io.operation == "Write") out.push_back(io);
  }
  return out;
}

// Lines of "8:0 rbytes=4096 wbytes=0 rios=1 ...".
std::vector<CgroupStats::BlockIo> ParseIoStat(std::string_view text) {
  std::vector<CgroupStats::BlockIo> out;
  while (!text.empty()) {
    std::string_view line = Next(text, '\n');
    CgroupStats::BlockIo io;
    if (!ParseDevice(Next(line, ' '), &io)) continue;
    while (!line.empty()) {
      std::string_view field = Next(line, ' ');
      std::string_view key = Next(field, '=');
      if (key != "rbytes" && key != "wbytes") continue;
      io.operation = key == "rbytes" ? "Read" : "Write";
      io.value = Number(field);
      out.push_back(io);
    }
  }
  return out;
}

uint64_t Find(const std::map<std::string, uint64_t>& values, const char* key) {
  auto found = values.find(key);
  return found == values.end() ? 0 : found->second;
}

}  // namespace

std::map<std::string, uint64_t> ParseKeyedCgroupFile(std::string_view text) {
  std::map<std::string, uint64_t> out;
  while (!text.empty()) {
    std::string_view line = Next(text, '\n');
    std::string_view key = Next(line, ' ');
    if (!key.empty() && !line.empty()) out.emplace(key, Number(line));
  }
  return out;
}

CgroupStats StatsFromV1(const ReadCgroupFile& read, uint64_t clock_ticks_per_second) {
  CgroupStats stats;
  stats.cpu_total_ns = Number(read("cpuacct", "cpuacct.usage"));
  std::string per_core = read("cpuacct", "cpuacct.usage_percpu");
  for (std::string_view rest = per_core; !rest.empty();) {
    std::string_view word = Next(rest, ' ');
    if (!word.empty() && word != "\n") stats.cpu_per_core_ns.push_back(Number(word));
  }
  auto split = ParseKeyedCgroupFile(read("cpuacct", "cpuacct.stat"));
  stats.cpu_user_ns = Find(split, "user") * (kSecond / clock_ticks_per_second);
  stats.cpu_system_ns = Find(split, "system") * (kSecond / clock_ticks_per_second);
  auto cpu = ParseKeyedCgroupFile(read("cpu", "cpu.stat"));
  stats.periods = Find(cpu, "nr_periods");
  stats.throttled_periods = Find(cpu, "nr_throttled");
  stats.throttled_ns = Find(cpu, "throttled_time");
  stats.memory_usage = Number(read("memory", "memory.usage_in_bytes"));
  stats.memory_max_usage = Number(read("memory", "memory.max_usage_in_bytes"));
  stats.memory_limit = Number(read("memory", "memory.limit_in_bytes"));
  if (stats.memory_limit >= kV1NoLimit) stats.memory_limit = kNone;
  stats.memory_failures = Number(read("memory", "memory.failcnt"));
  stats.memory_stat = ParseKeyedCgroupFile(read("memory", "memory.stat"));
  stats.memory_cache = Find(stats.memory_stat, "cache");
  stats.pids_current = Number(read("pids", "pids.current"));
  stats.pids_limit = Number(read("pids", "pids.max"));
  if (stats.pids_limit == kNone) stats.pids_limit = 0;
  stats.io_bytes = ParseBlkio(read("blkio", "blkio.throttle.io_service_bytes_recursive"));
  return stats;
}

CgroupStats StatsFromV2(const ReadCgroupFile& read) {
  CgroupStats stats;
  auto cpu = ParseKeyedCgroupFile(read("cpu", "cpu.stat"));
  stats.cpu_total_ns = Find(cpu, "usage_usec") * kMicrosecond;
  stats.cpu_user_ns = Find(cpu, "user_usec") * kMicrosecond;
  stats.cpu_system_ns = Find(cpu, "system_usec") * kMicrosecond;
  stats.periods = Find(cpu, "nr_periods");
  stats.throttled_periods = Find(cpu, "nr_throttled");
  stats.throttled_ns = Find(cpu, "throttled_usec") * kMicrosecond;
  stats.memory_usage = Number(read("memory", "memory.current"));
  stats.memory_max_usage = Number(read("memory", "memory.peak"));  // from 5.19 on
  stats.memory_limit = Number(read("memory", "memory.max"));
  stats.memory_failures = Find(ParseKeyedCgroupFile(read("memory", "memory.events")), "max");
  stats.memory_stat = ParseKeyedCgroupFile(read("memory", "memory.stat"));
  stats.memory_cache = Find(stats.memory_stat, "file");
  stats.pids_current = Number(read("pids", "pids.current"));
  stats.pids_limit = Number(read("pids", "pids.max"));
  if (stats.pids_limit == kNone) stats.pids_limit = 0;
  stats.io_bytes = ParseIoStat(read("io", "io.stat"));
  return stats;
}

}  // namespace stasis
