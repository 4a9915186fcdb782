#include "linux/process_handle.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <thread>

#include "gtest/gtest.h"
#include "linux/subprocess.h"

namespace stasis {
namespace {

using std::chrono::milliseconds;

StatusOr<Child> Sleeper() { return Spawn({.argv = {"/bin/sleep", "1000"}}); }

TEST(ProcessHandleTest, AProcessThatIsNotThereIsNotFound) {
  EXPECT_EQ(ProcessHandle::Open(0x3fffffff).status().code(), StatusCode::kNotFound);
}

TEST(ProcessHandleTest, SeesTheEndOfAProcess) {
  auto child = Sleeper();
  ASSERT_TRUE(child.ok()) << child.status();
  auto handle = ProcessHandle::Open(child->process().pid());
  ASSERT_TRUE(handle.ok());
  EXPECT_FALSE(handle->Ended());
  EXPECT_EQ(handle->WaitEnded(After(milliseconds(10)), {}).code(), StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(handle->Signal(SIGTERM).ok());
  EXPECT_TRUE(handle->WaitEnded(After(milliseconds(10000)), {}).ok());
  EXPECT_TRUE(handle->Ended());
  EXPECT_TRUE(handle->Signal(SIGTERM).ok()) << "a zombie still takes signals";
  ASSERT_TRUE(child->Wait(kNoDeadline, {}).ok());
  EXPECT_EQ(handle->Signal(SIGTERM).code(), StatusCode::kNotFound);
}

TEST(ProcessHandleTest, AWaitCanBeCancelled) {
  auto child = Sleeper();
  ASSERT_TRUE(child.ok());
  std::stop_source source;
  std::jthread canceller([&source] { source.request_stop(); });
  EXPECT_EQ(child->process().WaitEnded(kNoDeadline, source.get_token()).code(), StatusCode::kCancelled);
}

TEST(ProcessHandleTest, ExitStatusesAreAsAShellSaysThem) {
  EXPECT_EQ(DecodeWait(7 << 8).ShellCode(), 7);
  EXPECT_EQ(DecodeWait(SIGKILL).ShellCode(), 137);
  EXPECT_EQ(DecodeWait(SIGSEGV | 0x80).signal, SIGSEGV) << "with a core dumped";
}

TEST(ProcessHandleTest, StartTimeTellsProcessesApart) {
  auto self = ProcessStartTime(::getpid());
  ASSERT_TRUE(self.ok()) << self.status();
  EXPECT_GT(*self, 0u);
  EXPECT_EQ(*ProcessStartTime(::getpid()), *self);
  EXPECT_EQ(ProcessStartTime(0x3fffffff).status().code(), StatusCode::kNotFound);
}

TEST(ProcessHandleTest, AnotherProcessOfTheSameNumberIsNotOpened) {
  auto identity = IdentifyProcess(::getpid());
  ASSERT_TRUE(identity.ok()) << identity.status();
  EXPECT_TRUE(ProcessHandle::Open(*identity).ok());
  ++identity->start_time;
  EXPECT_EQ(ProcessHandle::Open(*identity).status().code(), StatusCode::kNotFound);
}

TEST(ProcessHandleTest, NamesWithParenthesesDoNotConfuse) {
  auto before = ProcessStartTime(::getpid());
  char old[16] = {};
  ASSERT_EQ(::prctl(PR_GET_NAME, old, 0, 0, 0), 0);
  ASSERT_EQ(::prctl(PR_SET_NAME, ") S 1 (x) 9", 0, 0, 0), 0);
  EXPECT_EQ(*ProcessStartTime(::getpid()), *before);
  EXPECT_EQ(*ProcessName(::getpid()), ") S 1 (x) 9");
  ::prctl(PR_SET_NAME, old, 0, 0, 0);
}

}  // namespace
}  // namespace stasis
