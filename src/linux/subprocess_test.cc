#include "linux/subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "linux/files.h"
#include "linux/unix_socket.h"

namespace stasis {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

Command Shell(const std::string& script) {
  return {.argv = {"/bin/sh", "-c", script}, .env = BaseEnvironment()};
}

RunLimits Soon() { return {.deadline = After(milliseconds(30000))}; }

TEST(RunTest, CapturesOutputAndTheExitCode) {
  auto result = stasis::Run(Shell("echo out; echo err >&2; exit 3"), Soon());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->output, "out\n");
  EXPECT_EQ(result->error_tail, "err\n");
  EXPECT_EQ(result->exit.code, 3);
}

TEST(RunTest, ADeathBySignalIsAResult) {
  auto result = stasis::Run(Shell("kill -SEGV $$"), Soon());
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->exit.signal, SIGSEGV);
  EXPECT_EQ(result->exit.ShellCode(), 139);
}

TEST(RunTest, InputArrivesWhole) {
  Command command = {.argv = {"/usr/bin/wc", "-c"}, .env = BaseEnvironment()};
  command.input.assign(3 << 20, 'x');
  EXPECT_EQ(stasis::Run(command, Soon())->output, std::to_string(3 << 20) + "\n");
}

TEST(RunTest, AChildThatIgnoresItsInputDoesNoHarm) {
  Command command = Shell("exit 0");
  command.input.assign(3 << 20, 'x');
  EXPECT_EQ(stasis::Run(command, Soon())->exit.code, 0);
}

TEST(RunTest, MoreThanAPipeFullOnBothStreamsDoesNotBlock) {
  auto result = stasis::Run(Shell("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2"), Soon());
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->output.size(), 3000000u);
  EXPECT_EQ(result->error_tail.size(), 8192u);
}

TEST(RunTest, OutputBeyondTheLimitIsThrownAwayAndTheEndOfErrorsIsKept) {
  RunLimits limits = Soon();
  limits.output_limit = 10;
  auto result = stasis::Run(
      Shell("head -c 200000 /dev/zero | tr '\\0' x; head -c 100000 /dev/zero >&2; echo last >&2"), limits);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->output, "xxxxxxxxxx");
  EXPECT_TRUE(result->error_tail.ends_with("last\n"));
}

TEST(RunTest, AGrandchildThatKeepsTheOutputOpenDoesNotHoldItUp) {
  auto result = stasis::Run(Shell("sleep 1000 & echo $!"), Soon());
  ASSERT_TRUE(result.ok()) << result.status();
  ::kill(std::stoi(result->output), SIGKILL);
}

TEST(RunTest, AGrandchildThatWritesWithoutEndDoesNotHoldItUp) {
  auto result = stasis::Run(Shell("yes & echo $! >&2"), Soon());
  ASSERT_TRUE(result.ok()) << result.status();
  ::kill(std::stoi(result->error_tail), SIGKILL);
}

TEST(RunTest, APoliteSignalComesFirst) {
  Command command =
      Shell("trap 'echo polite >&3; exit 0' TERM; echo ready >&3; while :; do sleep 0.01; done");
  auto pipe = *MakePipe();
  command.fds[3] = pipe.write_end.get();
  std::stop_source source;
  std::string word(6, ' ');
  std::jthread canceller([&] {
    EXPECT_TRUE(
        ReadExactly(pipe.read_end.get(), word.data(), word.size(), After(milliseconds(30000)), {}).ok());
    source.request_stop();
  });
  auto result = stasis::Run(command, {.cancel = source.get_token(), .grace = milliseconds(30000)});
  EXPECT_EQ(result.status().code(), StatusCode::kCancelled);
  canceller.join();
  EXPECT_EQ(word, "ready\n");
  pipe.write_end.reset();
  EXPECT_EQ(*ReadAll(pipe.read_end.get()), "polite\n");
}

TEST(RunTest, WhoIgnoresThePoliteSignalIsKilledAfterTheGrace) {
  RunLimits limits = {.deadline = After(milliseconds(300)), .grace = milliseconds(50)};
  auto result = stasis::Run(Shell("trap '' TERM; while :; do sleep 0.01; done"), limits);
  EXPECT_EQ(result.status().code(), StatusCode::kDeadlineExceeded);
}

TEST(RunTest, CanBeCancelledFromAnotherThread) {
  std::stop_source source;
  auto pipe = *MakePipe();
  Command command = Shell("echo started >&3; exec sleep 1000");
  command.fds[3] = pipe.write_end.get();
  std::jthread canceller([&] {
    char byte;
    EXPECT_TRUE(ReadExactly(pipe.read_end.get(), &byte, 1, After(milliseconds(30000)), {}).ok());
    source.request_stop();
  });
  auto result = stasis::Run(command, {.cancel = source.get_token()});
  EXPECT_EQ(result.status().code(), StatusCode::kCancelled);
}

TEST(RunTest, WasCancelledBeforeItsStart) {
  std::stop_source source;
  source.request_stop();
  EXPECT_EQ(stasis::Run(Shell("true"), {.cancel = source.get_token()}).status().code(),
            StatusCode::kCancelled);
}

TEST(SpawnTest, ErrorsNameTheStepAndTheObject) {
  auto missing = Spawn({.argv = {"/nonexistent/program"}});
  EXPECT_EQ(missing.status().code(), StatusCode::kNotFound);
  EXPECT_EQ(Message(missing.status()), "exec /nonexistent/program: No such file or directory");
  auto directory = Spawn({.argv = {"/bin/true"}, .directory = "/nonexistent"});
  EXPECT_EQ(Message(directory.status()), "chdir /nonexistent: No such file or directory");
  auto denied = Spawn({.argv = {"/etc/passwd"}});
  EXPECT_EQ(denied.status().code(), StatusCode::kPermissionDenied);
  auto descriptor = Spawn({.argv = {"/bin/true"}, .fds = {{3, 999999}}});
  EXPECT_EQ(GetErrno(descriptor.status()), EBADF);
  auto cgroup = Spawn({.argv = {"/bin/true"}, .cgroup_procs_files = {"/nonexistent"}});
  EXPECT_EQ(Message(cgroup.status()), "enter cgroup for /bin/true: No such file or directory");
  EXPECT_EQ(Spawn({}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Spawn({.argv = {std::string("/bin/true\0x", 11)}}).status().code(), StatusCode::kInvalidArgument);
}

TEST(SpawnTest, FailuresLeaveNoChildBehind) {
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(Spawn({.argv = {"/nonexistent"}}).ok());
  siginfo_t info = {};
  EXPECT_EQ(::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT), -1);
  EXPECT_EQ(errno, ECHILD);
}

// "N -> TARGET" for each open descriptor, as the child's own /proc shows it; its directory stream left out.
std::string FdsOfAChild(std::map<int, int> fds) {
  Command command = Shell("for fd in /proc/$$/fd/*; do echo ${fd##*/} $(readlink $fd); done");
  auto pipe = *MakePipe();
  fds[1] = pipe.write_end.get();
  command.fds = std::move(fds);
  auto child = Spawn(command);
  EXPECT_TRUE(child.ok()) << child.status();
  pipe.write_end.reset();
  return *ReadAll(pipe.read_end.get());
}

TEST(SpawnTest, AChildGetsExactlyTheListedDescriptors) {
  UniqueFd leaked(::open("/etc/hostname", O_RDONLY));  // without O_CLOEXEC, on purpose
  UniqueFd high(::fcntl(leaked.get(), F_DUPFD, 700));
  UniqueFd passed = *OpenFile("/etc/passwd", O_RDONLY);
  std::string seen = FdsOfAChild({{9, passed.get()}});
  EXPECT_THAT(seen, HasSubstr("0 /dev/null\n"));
  EXPECT_THAT(seen, HasSubstr("2 /dev/null\n"));
  EXPECT_THAT(seen, HasSubstr("9 /etc/passwd\n"));
  EXPECT_THAT(seen, testing::Not(HasSubstr("hostname")));
  EXPECT_THAT(seen, testing::Not(HasSubstr("700 ")));
}

TEST(SpawnTest, SourcesAndTargetsMayOverlapInAnyWay) {
  UniqueFd a = *OpenFile("/etc/passwd", O_RDONLY);
  UniqueFd b = *OpenFile("/etc/hostname", O_RDONLY);
  UniqueFd c = *OpenFile("/etc/hosts", O_RDONLY);
  // A ring: each goes where the next one is.
  std::string seen = FdsOfAChild({{b.get(), a.get()}, {c.get(), b.get()}, {a.get(), c.get()}, {0, a.get()}});
  EXPECT_THAT(seen, HasSubstr("0 /etc/passwd\n"));
  EXPECT_THAT(seen, HasSubstr("\n" + std::to_string(b.get()) + " /etc/passwd\n"));
  EXPECT_THAT(seen, HasSubstr("\n" + std::to_string(c.get()) + " /etc/hostname\n"));
  EXPECT_THAT(seen, HasSubstr("\n" + std::to_string(a.get()) + " /etc/hosts\n"));
}

TEST(SpawnTest, SignalsAreDefaultAndUnblockedInTheChild) {
  sigset_t mask, before;
  sigemptyset(&mask);
  sigaddset(&mask, SIGUSR1);
  ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &mask, &before), 0);
  auto old = ::signal(SIGPIPE, SIG_IGN);
  Command command = Shell("grep -E 'Sig(Blk|Ign)' /proc/self/status");
  auto result = stasis::Run(command, Soon());
  ::signal(SIGPIPE, old);
  sigset_t after;
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, &before, &after), 0);
  EXPECT_EQ(sigismember(&after, SIGUSR1), 1) << "ours is as it was";
  EXPECT_EQ(sigismember(&after, SIGUSR2), 0);
  EXPECT_EQ(result->output, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

TEST(SpawnTest, EnvironmentDirectoryAndSessionAreAsAsked) {
  Command command = Shell("echo $A $HOME. $(pwd); cut -d' ' -f6 /proc/$$/stat; echo $$");
  command.env = {{"A", "b=c"}, {"PATH", "/bin:/usr/bin"}};
  command.directory = "/etc";
  command.new_session = true;
  auto result = stasis::Run(command, Soon());
  ASSERT_TRUE(result.ok());
  size_t line = result->output.find('\n');
  EXPECT_EQ(result->output.substr(0, line), "b=c . /etc");
  std::string rest = result->output.substr(line + 1);
  std::string session = rest.substr(0, rest.find('\n'));
  EXPECT_EQ(rest, session + "\n" + session + "\n") << "it leads its session";
}

TEST(SpawnTest, DiesWithTheThreadThatSpawnedIt) {
  std::optional<Child> child;
  std::thread spawner([&child] {
    auto spawned = Spawn({.argv = {"/bin/sleep", "1000"}, .die_with_parent = true});
    if (spawned.ok()) child.emplace(*std::move(spawned));
  });
  spawner.join();
  ASSERT_TRUE(child);
  auto exit = child->Wait(After(milliseconds(10000)), {});
  ASSERT_TRUE(exit.ok()) << exit.status();
  EXPECT_EQ(exit->signal, SIGKILL);
}

TEST(SpawnTest, WorksFromManyThreadsAtOnce) {
  std::atomic<int> good = 0;
  constexpr int kThreads = 8;
  std::vector<std::jthread> threads;
  threads.reserve(kThreads);
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&good, i] {
      for (int round = 0; round < 10; ++round) {
        std::string word = std::to_string(i * 100 + round);
        auto result = stasis::Run(Shell("echo " + word), Soon());
        if (result.ok() && result->output == word + "\n") ++good;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(good, 80);
}

TEST(ChildTest, IsKilledAndReapedAtTheEndOfItsLife) {
  pid_t pid = 0;
  {
    auto child = Spawn({.argv = {"/bin/sleep", "1000"}});
    ASSERT_TRUE(child.ok());
    pid = child->process().pid();
    Child moved = *std::move(child);
    EXPECT_EQ(moved.process().pid(), pid);
  }
  EXPECT_EQ(ProcessHandle::Open(pid).status().code(), StatusCode::kNotFound);
}

TEST(ChildTest, AWaitThatTimesOutLeavesItRunning) {
  auto child = Spawn({.argv = {"/bin/cat"}, .fds = {}});
  auto sleeper = Spawn({.argv = {"/bin/sleep", "1000"}});
  ASSERT_TRUE(sleeper.ok());
  EXPECT_EQ(sleeper->Wait(After(milliseconds(10)), {}).status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(sleeper->process().Ended());
  sleeper->Kill();
  EXPECT_EQ(sleeper->Wait(kNoDeadline, {}).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(child->Wait(After(milliseconds(10000)), {})->code, 0) << "cat of /dev/null ends by itself";
}

TEST(ChildTest, OnceDetachedItLivesOn) {
  std::optional<ProcessHandle> handle;
  {
    auto child = Spawn({.argv = {"/bin/sleep", "1000"}});
    ASSERT_TRUE(child.ok());
    handle.emplace(std::move(*child).Detach());
  }
  EXPECT_FALSE(handle->Ended());
  EXPECT_TRUE(handle->Signal(SIGKILL).ok());
  siginfo_t info = {};
  EXPECT_EQ(::waitid(P_PIDFD, static_cast<id_t>(handle->fd()), &info, WEXITED), 0);
}

TEST(SetChildSubreaperTest, OrphansBecomeOurs) {
  ASSERT_TRUE(SetChildSubreaper().ok());
  auto result = stasis::Run(Shell("sleep 1000 & echo $!"), Soon());
  ASSERT_TRUE(result.ok());
  pid_t orphan = std::stoi(result->output);
  ::kill(orphan, SIGKILL);
  EXPECT_EQ(::waitpid(orphan, nullptr, 0), orphan);
  ::prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
}

}  // namespace
}  // namespace stasis
