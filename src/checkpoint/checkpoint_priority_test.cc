// Who has a real-time priority while a container stands still, and that nobody has it afterwards.
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include "checkpoint/real_container_test.h"
#include "linux/priority.h"
#include "linux/proc.h"

namespace stasis::checkpoint {
namespace {

bool IsRealTime(pid_t thread) {
  const int policy = ::sched_getscheduler(thread);
  return policy >= 0 && (policy & ~SCHED_RESET_ON_FORK) == SCHED_RR;
}

class CheckpointPriorityTest : public RealContainerTest {
 protected:
  CheckpointPriorityTest() { count_in_memory_ = true; }
  void SetUp() override {
    if (const RealTimeScope scope; !scope.raised())
      GTEST_SKIP() << "this machine refuses real-time priorities";
    RealContainerTest::SetUp();
  }
  // The checkpointer's threads are this program's.
  static int RaisedThreads() {
    int raised = 0;
    for (const pid_t thread : ListThreads(::getpid()).value_or(std::vector<pid_t>()))
      raised += IsRealTime(thread) ? 1 : 0;
    return raised;
  }
  void Freeze(const protocol::CheckpointPlan& plan) {
    const auto prepared = Call("prepare", ToJson(plan));
    ASSERT_TRUE(prepared.ok()) << prepared.status();
    ASSERT_EQ(RaisedThreads(), 0);
    ASSERT_FALSE(IsRealTime(CriuPid())) << "nobody waits for it yet";
    const auto frozen = Call("freeze");
    ASSERT_TRUE(frozen.ok()) << frozen.status();
  }
};

TEST_F(CheckpointPriorityTest, IsRealTimeFromTheFreezeToTheThaw) {
  Counter();
  if (IsSkipped() || HasFatalFailure()) return;
  Freeze(Plan("cp1"));
  EXPECT_EQ(RaisedThreads(), 1);
  EXPECT_TRUE(IsRealTime(CriuPid()));
  int at_memory = -1;
  const auto on_notice = [&](const std::string&, const Json& params) {
    if (params.value("phase", "") == "publish" && at_memory < 0) at_memory = RaisedThreads();
  };
  const auto finished = caller_->Call("finish", Json::object(), std::chrono::seconds(60), {}, on_notice);
  ASSERT_TRUE(finished.ok()) << finished.status();
  EXPECT_EQ(at_memory, 0) << "memory is read and hashed at the ordinary priority";
  EXPECT_EQ(RaisedThreads(), 0);
  EXPECT_TRUE(CountsOn());
  EXPECT_FALSE(IsRealTime(InitPid()));
}

TEST_F(CheckpointPriorityTest, IsOrdinaryAgainAfterACancellation) {
  Counter();
  if (IsSkipped() || HasFatalFailure()) return;
  Freeze(Plan("cp1"));
  EXPECT_EQ(RaisedThreads(), 1);
  ASSERT_TRUE(Call("cancel").ok());
  EXPECT_EQ(RaisedThreads(), 0);
  ExpectAsBefore();
}

TEST_F(CheckpointPriorityTest, IsOrdinaryWhereTheContainerEnds) {
  Counter();
  if (IsSkipped() || HasFatalFailure()) return;
  Freeze(Plan("cp1", /*exit=*/true));
  EXPECT_EQ(RaisedThreads(), 0);
  EXPECT_FALSE(IsRealTime(CriuPid()));
  ASSERT_TRUE(Call("finish").ok());
}

}  // namespace
}  // namespace stasis::checkpoint
