#include "linux/wait_clock.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <thread>

#include "linux/clock.h"
#include "linux/files.h"
#include "linux/traced_thread.h"

namespace stasis {
namespace {

using std::chrono::nanoseconds;
using std::chrono::steady_clock;

nanoseconds Now() { return steady_clock::now().time_since_epoch(); }

// A process that waits once; it ends with what `wait` says.
class Waiter {
 public:
  explicit Waiter(const std::function<int()>& wait) : pid_(::fork()) {
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::_exit(wait());
  }
  ~Waiter() {
    if (pid_ == 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  pid_t pid() const { return pid_; }
  // Once it waits.
  std::optional<BegunWait> Look() {
    for (const Deadline limit = After(std::chrono::seconds(10)); steady_clock::now() < limit;) {
      if (auto wait = WaitClock().Look(pid_)) return wait;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return std::nullopt;
  }
  int Ends() {
    int status = 0;
    ::waitpid(std::exchange(pid_, 0), &status, 0);
    return status;
  }

 private:
  pid_t pid_;
};

constexpr int kMinute = 60;

int WaitForEvents() {
  epoll_event event;
  return ::epoll_wait(::epoll_create1(0), &event, 1, kMinute * 1000) == 0 ? 0 : errno;
}

int WaitForSignals() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGUSR2);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  const timespec minute = {kMinute, 0};
  const int signal = ::sigtimedwait(&set, nullptr, &minute);
  return signal == -1 && errno == EAGAIN && minute.tv_sec == kMinute ? 0 : 1;
}

class WaitClockTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(BlockChildSignals().ok());
    if (!Exists("/proc/self/sched")) GTEST_SKIP() << "the kernel has no /proc/PID/sched";
  }
};

TEST_F(WaitClockTest, AWaitHasBegunAfterItsProcessAndBeforeNow) {
  const nanoseconds before = Now();
  Waiter waiter(WaitForEvents);
  const auto wait = waiter.Look();
  ASSERT_TRUE(wait);
  EXPECT_GE(wait->began, before);
  EXPECT_LE(wait->began, Now());
}

TEST_F(WaitClockTest, WhatWaitsWithoutATimeOutOfThatKindIsNone) {
  Waiter waiter([] { return ::pause(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(WaitClock().Look(waiter.pid()));
}

TEST_F(WaitClockTest, AStoppedWaitEndsWhenItsTimeIsOver) {
  for (const auto& run : {WaitForEvents, WaitForSignals}) {
    Waiter waiter(run);
    const auto wait = waiter.Look();
    ASSERT_TRUE(wait);
    {
      auto thread = TracedThread::Seize(waiter.pid(), 0);
      ASSERT_TRUE(thread.ok()) << thread.status();
      ASSERT_TRUE(thread->Interrupt().ok());
      ASSERT_TRUE(thread->AwaitHalt(kNoDeadline).ok());
      EXPECT_TRUE(wait->WasStopped());
      // As if it had waited for its minute.
      ASSERT_TRUE(thread->GoOnWaiting(wait->began - std::chrono::seconds(kMinute)).ok());
    }
    EXPECT_EQ(waiter.Ends(), 0);
  }
}

}  // namespace
}  // namespace stasis
