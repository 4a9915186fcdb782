#include "linux/cgroup_stats.h"

#include <limits>

#include "gtest/gtest.h"

namespace stasis {
namespace {

constexpr uint64_t kNone = std::numeric_limits<uint64_t>::max();

ReadCgroupFile Files(std::map<std::string, std::string> files) {
  return [files = std::move(files)](std::string_view controller, std::string_view file) {
    auto found = files.find(std::string(controller) + "/" + std::string(file));
    return found == files.end() ? std::string() : found->second;
  };
}

TEST(CgroupStatsTest, ReadsV1) {
  CgroupStats stats = StatsFromV1(
      Files({{"cpuacct/cpuacct.usage", "962908116385\n"},
             {"cpuacct/cpuacct.usage_percpu", "434146066902 528762049483 \n"},
             {"cpuacct/cpuacct.stat", "user 57420\nsystem 38870\n"},
             {"cpu/cpu.stat",
              "nr_periods 40\nnr_throttled 3\nthrottled_time 123456789\nnr_bursts 0\nburst_time 0\n"},
             {"memory/memory.usage_in_bytes", "971644928\n"},
             {"memory/memory.max_usage_in_bytes", "980000000\n"},
             {"memory/memory.limit_in_bytes", "9223372036854771712\n"},
             {"memory/memory.failcnt", "2\n"},
             {"memory/memory.stat",
              "cache 9535488\nrss 9797632\nhierarchical_memory_limit 9223372036854771712\n"},
             {"pids/pids.current", "5\n"},
             {"pids/pids.max", "max\n"},
             {"blkio/blkio.throttle.io_service_bytes_recursive",
              "254:0 Read 4096\n254:0 Write 8192\n254:0 Sync 8192\n254:0 Total 12288\nTotal 12288\n"}}),
      100);
  EXPECT_EQ(stats.cpu_total_ns, 962908116385u);
  EXPECT_EQ(stats.cpu_per_core_ns, (std::vector<uint64_t>{434146066902, 528762049483}));
  EXPECT_EQ(stats.cpu_user_ns, 574200000000u);
  EXPECT_EQ(stats.cpu_system_ns, 388700000000u);
  EXPECT_EQ(stats.periods, 40u);
  EXPECT_EQ(stats.throttled_periods, 3u);
  EXPECT_EQ(stats.throttled_ns, 123456789u);
  EXPECT_EQ(stats.memory_usage, 971644928u);
  EXPECT_EQ(stats.memory_max_usage, 980000000u);
  EXPECT_EQ(stats.memory_limit, kNone);
  EXPECT_EQ(stats.memory_failures, 2u);
  EXPECT_EQ(stats.memory_cache, 9535488u);
  EXPECT_EQ(stats.memory_stat["rss"], 9797632u);
  EXPECT_EQ(stats.pids_current, 5u);
  EXPECT_EQ(stats.pids_limit, 0u);
  ASSERT_EQ(stats.io_bytes.size(), 2u);
  EXPECT_EQ(stats.io_bytes[0].major, 254u);
  EXPECT_EQ(stats.io_bytes[0].operation, "Read");
  EXPECT_EQ(stats.io_bytes[1].value, 8192u);
}

TEST(CgroupStatsTest, ReadsV2) {
  CgroupStats stats = StatsFromV2(Files(
      {{"cpu/cpu.stat",
        "usage_usec 2000\nuser_usec 1500\nsystem_usec 500\nnice_usec 0\ncore_sched.force_idle_usec 0\n"
        "nr_periods 10\nnr_throttled 1\nthrottled_usec 7\nnr_bursts 0\nburst_usec 0\n"},
       {"memory/memory.current", "1048576\n"},
       {"memory/memory.peak", "2097152\n"},
       {"memory/memory.max", "67108864\n"},
       {"memory/memory.events", "low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\noom_group_kill 0\n"},
       {"memory/memory.stat", "anon 4096\nfile 8192\nkernel 100\n"},
       {"pids/pids.current", "2\n"},
       {"pids/pids.max", "100\n"},
       {"io/io.stat", "8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0\n8:0 \n"}}));
  EXPECT_EQ(stats.cpu_total_ns, 2000000u);
  EXPECT_EQ(stats.cpu_user_ns, 1500000u);
  EXPECT_EQ(stats.cpu_system_ns, 500000u);
  EXPECT_EQ(stats.throttled_ns, 7000u);
  EXPECT_EQ(stats.memory_usage, 1048576u);
  EXPECT_EQ(stats.memory_max_usage, 2097152u);
  EXPECT_EQ(stats.memory_limit, 67108864u);
  EXPECT_EQ(stats.memory_failures, 12u);
  EXPECT_EQ(stats.memory_cache, 8192u);
  EXPECT_EQ(stats.pids_limit, 100u);
  ASSERT_EQ(stats.io_bytes.size(), 2u);
  EXPECT_EQ(stats.io_bytes[0].minor, 16u);
  EXPECT_EQ(stats.io_bytes[0].value, 1459200u);
  EXPECT_EQ(stats.io_bytes[1].operation, "Write");
  EXPECT_EQ(stats.io_bytes[1].value, 314773504u);
}

TEST(CgroupStatsTest, AbsentControllersAreZero) {
  EXPECT_EQ(StatsFromV2(Files({})).memory_usage, 0u);
  EXPECT_EQ(StatsFromV1(Files({}), 100).cpu_total_ns, 0u);
  EXPECT_EQ(StatsFromV2(Files({{"memory/memory.max", "max\n"}})).memory_limit, kNone);
}

TEST(CgroupStatsTest, OddTextDoesNoHarm) {
  for (const char* odd : {"", "\n", " ", "x", "8:0", "8:0 rbytes", "8:0 rbytes=", ":", "a b c", "8:0 Read"}) {
    auto read = [odd](std::string_view, std::string_view) { return std::string(odd); };
    StatsFromV1(read, 100);
    StatsFromV2(read);
  }
  EXPECT_TRUE(ParseKeyedCgroupFile("\n\nkey\n key\n").empty());
}

}  // namespace
}  // namespace stasis
