#include "criu/thread_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>

#include "linux/files.h"

namespace stasis::criu {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(ThreadSettingsTest, OnlyWhatIsNotTheDefaultIsSaved) {
  cpu_set_t all;
  ASSERT_EQ(::sched_getaffinity(0, sizeof all, &all), 0);
  int last = CPU_SETSIZE - 1;
  while (!CPU_ISSET(last, &all)) --last;
  const auto directory = *TemporaryDirectory::Create("/tmp", "stasis-thread-settings-");
  const auto read = [&](const std::string& allowed) {
    EXPECT_TRUE(WriteFileAtomically(directory.path() + "/cpuset.effective_cpus", allowed + "\n").ok());
    auto self = ParseProcessStatus(*ReadFile("/proc/self/status"), 0);
    EXPECT_TRUE(self.ok());
    return ReadThreadSettings({*self}, {directory.path()});
  };
  std::thread([&] {
    const std::string id = std::to_string(::gettid());
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(last, &one);
    ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
    const std::string there = read(std::to_string(last));
    EXPECT_THAT("\n" + there, Not(HasSubstr("\n" + id + " ")));
    // One more than it is bound to: another.
    std::string bound(static_cast<size_t>(last / 8 * 2), '0');
    bound += last % 8 < 4 ? "0" : std::string(1, "1248"[last % 4]);
    bound += last % 8 < 4 ? std::string(1, "1248"[last % 4]) : "0";
    EXPECT_THAT("\n" + read("0-" + std::to_string(last + 1)), HasSubstr("\n" + id + " 0 0 " + bound + "\n"));
    ASSERT_EQ(::prctl(PR_SET_TIMERSLACK, 12345), 0);
    ASSERT_EQ(::syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 5), 0);
    EXPECT_THAT("\n" + read(std::to_string(last)),
                HasSubstr("\n" + id + " " + std::to_string(2 << 13 | 5) + " 12345 -\n"));
  }).join();
}

}  // namespace
}  // namespace stasis::criu
