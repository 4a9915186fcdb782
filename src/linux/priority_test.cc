#include "linux/priority.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <thread>

namespace stasis {
namespace {

class PriorityTest : public ::testing::Test {
 protected:
  // Each test has a thread of its own, whose nice value and policy are nobody else's.
  template <typename Body>
  void OnAThread(Body body) {
    std::thread(body).join();
  }
};

TEST_F(PriorityTest, IsRealTimeForAsLongAsTheScopeLives) {
  OnAThread([] {
    ASSERT_EQ(::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), 5), 0);
    {
      const RealTimeScope scope;
      if (!scope.raised()) GTEST_SKIP() << "this machine refuses real-time priorities";
      EXPECT_EQ(::sched_getscheduler(0), SCHED_RR | SCHED_RESET_ON_FORK);
      std::thread([] { EXPECT_EQ(::sched_getscheduler(0), SCHED_OTHER) << "not what it starts"; }).join();
      const RealTimeScope inner;
      EXPECT_FALSE(inner.raised()) << "it has it already";
    }
    EXPECT_EQ(::sched_getscheduler(0), SCHED_OTHER);
    EXPECT_EQ(::getpriority(PRIO_PROCESS, static_cast<id_t>(::gettid())), 5);
  });
}

TEST_F(PriorityTest, KeepsAPolicyThatIsRealTimeAlready) {
  OnAThread([] {
    const sched_param high = {.sched_priority = 7};
    if (::sched_setscheduler(0, SCHED_FIFO, &high) != 0)
      GTEST_SKIP() << "this machine refuses real-time priorities";
    {
      const RealTimeScope scope;
      EXPECT_EQ(::sched_getscheduler(0), SCHED_FIFO);
    }
    EXPECT_TRUE(RaiseToRealTime(0).ok());
    EXPECT_EQ(::sched_getscheduler(0), SCHED_FIFO);
  });
}

TEST_F(PriorityTest, RaisesAnotherThread) {
  OnAThread([] {
    const pid_t self = ::gettid();
    const Status raised = RaiseToRealTime(self);
    if (absl::IsPermissionDenied(raised)) GTEST_SKIP() << raised;
    ASSERT_TRUE(raised.ok()) << raised;
    EXPECT_EQ(::sched_getscheduler(self), SCHED_RR);
  });
  EXPECT_TRUE(absl::IsNotFound(RaiseToRealTime(0x3ffffff)));
}

}  // namespace
}  // namespace stasis
