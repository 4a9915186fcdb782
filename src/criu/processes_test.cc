#include "criu/processes.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace stasis::criu {
namespace {

constexpr char kStatus[] =
    "Name:\tno\\nde\nUmask:\t0022\nState:\tS "
    "(sleeping)\nTgid:\t4007\nPid:\t4007\nPPid:\t4000\nTracerPid:\t0\n"
    "Uid:\t101\t101\t101\t101\nNSpid:\t4007\t7\t1\nVmRSS:\t    1652 kB\nThreads:\t11\n";

TEST(ProcessesTest, ReadsTheStatusOfAProcess) {
  auto process = ParseProcessStatus(kStatus, 1);
  ASSERT_TRUE(process.ok()) << process.status();
  EXPECT_EQ(process->pid, 4007);
  EXPECT_EQ(process->inside, 7) << "as the container sees it, not a namespace inside it";
  EXPECT_EQ(process->pid_namespaces, 3);
  EXPECT_EQ(process->parent, 4000);
  EXPECT_EQ(process->user, 101u);
  EXPECT_EQ(process->threads, 11);
  EXPECT_EQ(process->resident_bytes, 1652u * 1024);
  EXPECT_EQ(process->state, 'S');
  EXPECT_EQ(Label(*process), "process 7 (no\\nde)");
}

TEST(ProcessesTest, AStatusWithoutItsFieldsIsRefused) {
  for (std::string_view text :
       {"", "Name:\tx\n", "Pid:\t1\nPPid:\t0\nUid:\t0\nState:\tS\nNSpid:\t\n", "Pid:\tx\n"}) {
    EXPECT_TRUE(absl::IsDataLoss(ParseProcessStatus(text, 0).status())) << text;
  }
  EXPECT_EQ(ParseProcessStatus(kStatus, 99)->inside, 1) << "a depth that is not there is the deepest";
  EXPECT_EQ(ParseProcessStatus(kStatus, -1)->inside, 4007);
}

TEST(ProcessesTest, ReadsTheTreeBelowAProcess) {
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  auto tree = ReadProcessTree(::getpid());
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ASSERT_TRUE(tree.ok()) << tree.status();
  ASSERT_EQ(tree->size(), 2u);
  EXPECT_EQ((*tree)[0].pid, ::getpid());
  EXPECT_EQ((*tree)[1].pid, child);
  EXPECT_EQ((*tree)[1].parent, ::getpid());
  EXPECT_TRUE(absl::IsNotFound(ReadProcessTree(child).status())) << "it is gone";
}

}  // namespace
}  // namespace stasis::criu
