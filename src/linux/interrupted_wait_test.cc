#include "linux/interrupted_wait.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <optional>
#include <string>

#include "linux/clock.h"
#include "linux/files.h"
#include "linux/proc.h"
#include "linux/traced_thread.h"

namespace stasis {
namespace {

constexpr uint64_t kSyscallLength = 2;

// A process, stopped in a wait.
class InterruptedWaitTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(BlockChildSignals().ok()); }
  void TearDown() override {
    thread_.reset();
    if (pid_ == 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  void StopIn(long call, void (*wait)()) {
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      wait();
      ::_exit(0);
    }
    const std::string waits = std::to_string(call) + " ";
    while (!ReadFile(ProcPath(pid_, "syscall")).value_or(waits).starts_with(waits)) ::sched_yield();
    auto thread = TracedThread::Seize(pid_, 0);
    ASSERT_TRUE(thread.ok()) << thread.status();
    thread_.emplace(*std::move(thread));
    ASSERT_TRUE(thread_->Interrupt().ok());
    ASSERT_TRUE(thread_->AwaitHalt(kNoDeadline).ok());
    auto registers = thread_->Registers();
    ASSERT_TRUE(registers.ok()) << registers.status();
    found_ = *registers;
  }

  // As the kernel leaves them where another freeze finds the thread before it has run again.
  user_regs_struct AboutToCall(uint64_t number) const {
    user_regs_struct registers = found_;
    registers.rax = number;
    registers.rip -= kSyscallLength;
    return registers;
  }

  pid_t pid_ = 0;
  std::optional<TracedThread> thread_;
  user_regs_struct found_ = {};
  user_regs_struct call_ = {};
  unsigned long long* time_out_ = nullptr;
};

void SleepLong() {
  const timespec minute = {60, 0};
  ::nanosleep(&minute, nullptr);
}

void WaitForSignalLong() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGUSR2);
  const timespec minute = {60, 0};
  ::sigtimedwait(&set, nullptr, &minute);
}

TEST_F(InterruptedWaitTest, OneThatTheKernelIsAboutToGoOnWithIsFound) {
  StopIn(SYS_clock_nanosleep, SleepLong);
  ASSERT_EQ(static_cast<int64_t>(found_.rax), -STASIS_RESTART_BLOCK);
  EXPECT_FALSE(StasisIsBeforeCall(pid_, &found_, &call_, &time_out_));
  user_regs_struct before = AboutToCall(SYS_restart_syscall);
  before.orig_rax = UINT64_MAX;  // where an interrupt came first
  ASSERT_TRUE(StasisIsBeforeCall(pid_, &before, &call_, &time_out_));
  EXPECT_EQ(time_out_, nullptr);
  ASSERT_TRUE(StasisFindRestartedCall(pid_, &call_));
  EXPECT_EQ(call_.orig_rax, static_cast<uint64_t>(SYS_clock_nanosleep));
}

TEST_F(InterruptedWaitTest, OneThatHasATimeOfOursHasTheProgramsOwnAgain) {
  StopIn(SYS_rt_sigtimedwait, WaitForSignalLong);
  ASSERT_EQ(static_cast<int64_t>(found_.rax), -EINTR);
  const user_regs_struct before = AboutToCall(SYS_rt_sigtimedwait);
  user_regs_struct ours = found_;
  StasisSetTimeOut(pid_, 5 * STASIS_SECOND, &ours);
  ASSERT_NE(ours.rdx, found_.rdx);
  user_regs_struct again = before;
  again.rdx = ours.rdx;
  ASSERT_TRUE(StasisIsBeforeCall(pid_, &again, &call_, &time_out_));
  EXPECT_EQ(time_out_, &call_.rdx);
  StasisForgetTimeLeft(pid_, &call_);
  EXPECT_EQ(call_.rdx, before.rdx);
}

}  // namespace
}  // namespace stasis
