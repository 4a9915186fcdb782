// What the files of a cgroup say about its use of the machine (cgroups(7); Documentation/admin-guide of the
// kernel). Pure functions over the files' texts.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace stasis {

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

// Gives the text of `file` in the hierarchy of `controller` (which v2 does not look at); empty when it is not
// there.
using ReadCgroupFile = std::function<std::string(std::string_view controller, std::string_view file)>;

// What is absent or not understood stays 0: a controller that is off is no error.
CgroupStats StatsFromV1(const ReadCgroupFile& read, uint64_t clock_ticks_per_second);
CgroupStats StatsFromV2(const ReadCgroupFile& read);

// Lines of "key value".
std::map<std::string, uint64_t> ParseKeyedCgroupFile(std::string_view text);

}  // namespace stasis
