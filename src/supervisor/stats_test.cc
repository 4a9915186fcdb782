#include "supervisor/stats.h"

#include <gtest/gtest.h>

namespace stasis::supervisor {
namespace {

TEST(StatsTest, EveryInterfaceButTheLoopbackIsCounted) {
  types::StatsResponse response;
  ParseNetDev(
      "Inter-|   Receive                                                |  Transmit\n"
      " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo "
      "colls\n"
      "    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     "
      "0"
      "       0          0\n"
      "  eth0:    1234      12    1    2    0     0          0         0     4321      43    3    4    0     "
      "0"
      "       0          0\n"
      " broken: 1 2\n",
      &response);
  ASSERT_EQ(response.network_stats_size(), 1);
  EXPECT_EQ(response.network_stats(0).name(), "eth0");
  EXPECT_EQ(response.network_stats(0).rx_bytes(), 1234u);
  EXPECT_EQ(response.network_stats(0).rx_dropped(), 2u);
  EXPECT_EQ(response.network_stats(0).tx_bytes(), 4321u);
  EXPECT_EQ(response.network_stats(0).tx_errors(), 3u);
}

TEST(StatsTest, TheMachinesCpuTimeIsTheSumOfTheFirstLine) {
  EXPECT_EQ(ParseSystemCpu("cpu  1 2 3 4 5 6 7 8 100 100\ncpu0 1\n", 100), 36u * 10'000'000);
  EXPECT_EQ(ParseSystemCpu("garbage", 100), 0u);
}

TEST(StatsTest, ACgroupsNumbersKeepTheirMeaning) {
  CgroupStats stats;
  stats.cpu_total_ns = 7;
  stats.memory_usage = 8;
  stats.memory_stat = {{"anon", 9}};
  stats.pids_current = 3;
  stats.io_bytes = {{8, 0, "Read", 4096}};
  types::CgroupStats out;
  ToProto(stats, &out);
  EXPECT_EQ(out.cpu_stats().cpu_usage().total_usage(), 7u);
  EXPECT_EQ(out.memory_stats().usage().usage(), 8u);
  EXPECT_EQ(out.memory_stats().stats().at("anon"), 9u);
  EXPECT_EQ(out.pids_stats().current(), 3u);
  ASSERT_EQ(out.blkio_stats().io_service_bytes_recursive_size(), 1);
  EXPECT_EQ(out.blkio_stats().io_service_bytes_recursive(0).value(), 4096u);
}

TEST(StatsTest, TheMachineHasProcessorsAndMemory) {
  EXPECT_GT(DescribeMachine().cpus(), 0u);
  EXPECT_GT(DescribeMachine().memory(), 0u);
}

}  // namespace
}  // namespace stasis::supervisor
