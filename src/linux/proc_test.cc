#include "linux/proc.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

#include "linux/subprocess.h"
#include "linux/unique_fd.h"

namespace stasis {
namespace {

constexpr pid_t kNobody = 0x3fffffff;

// As the kernel writes it, from its fourth field on.
std::string StatText(const std::string& name) {
  std::string text = "7 (" + name + ") Z 6";
  for (int field = 5; field <= 52; ++field) text += " " + std::to_string(100 + field);
  return text + "\n";
}

TEST(ProcTest, ANameWithBlanksAndParenthesesMovesNoFieldOfStat) {
  for (const char* name : {"sh", "a b", ") R 1 1", "(("}) {
    auto stat = ParseProcessStat(StatText(name));
    ASSERT_TRUE(stat.ok()) << stat.status();
    EXPECT_EQ(stat->state, 'Z') << name;
    EXPECT_EQ(stat->parent, 6) << name;
    EXPECT_EQ(stat->start_time, 122u) << name;
    EXPECT_EQ(stat->exit_signal, 138) << name;
    EXPECT_EQ(stat->processor, 139) << name;
    EXPECT_EQ(stat->exit_code, 152) << name;
  }
}

TEST(ProcTest, OneThatIsEndingIsSeenToBe) {
  EXPECT_FALSE(ReadProcessStat(::getpid())->ending);
  auto child = Spawn({.argv = {"/bin/true"}, .env = BaseEnvironment()});
  ASSERT_TRUE(child.ok());
  ASSERT_TRUE(child->process().WaitEnded(After(std::chrono::seconds(10)), {}).ok());
  EXPECT_TRUE(ReadProcessStat(child->process().pid())->ending) << "not reaped yet";
}

TEST(ProcTest, AStatThatIsCutShortIsDataLoss) {
  const std::string text = StatText("sh");
  for (const std::string& cut : {std::string(), std::string("7 (sh"), text.substr(0, text.size() - 5)})
    EXPECT_TRUE(absl::IsDataLoss(ParseProcessStat(cut).status())) << cut;
}

TEST(ProcTest, OurOwnParentIsInStat) {
  auto stat = ReadProcessStat(::getpid());
  ASSERT_TRUE(stat.ok()) << stat.status();
  EXPECT_EQ(stat->parent, ::getppid());
}

TEST(ProcTest, OneThatIsNotThereIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(ReadProcessStat(kNobody).status()));
  EXPECT_TRUE(absl::IsNotFound(ListThreads(kNobody).status()));
  EXPECT_TRUE(absl::IsNotFound(ReadProcLink(ProcPath(kNobody, "cwd")).status()));
  EXPECT_TRUE(ListChildren(kNobody).empty());
}

TEST(ProcTest, ThreadsAndTheirChildrenAreListed) {
  std::vector<pid_t> threads;
  std::vector<pid_t> children;
  pid_t thread = 0;
  pid_t child = 0;
  std::jthread([&] {
    auto spawned = Spawn({.argv = {"/bin/sleep", "1000"}});
    ASSERT_TRUE(spawned.ok()) << spawned.status();
    thread = ::gettid();
    child = spawned->process().pid();
    threads = ListThreads(::getpid()).value_or(std::vector<pid_t>());
    children = ListChildren(::getpid());
  }).join();
  EXPECT_THAT(threads, testing::IsSupersetOf({::getpid(), thread}));
  EXPECT_THAT(children, testing::Contains(child));
}

TEST(ProcTest, ALinkIsReadAsTheKernelTellsIt) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd from(ends[0]);
  const UniqueFd to(ends[1]);
  auto link = ReadProcLink("/proc/self/fd/" + std::to_string(from.get()));
  ASSERT_TRUE(link.ok()) << link.status();
  EXPECT_TRUE(link->starts_with("pipe:[")) << *link;
}

}  // namespace
}  // namespace stasis
