#include "criu/verdict.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <future>
#include <thread>
#include <utility>

#include "linux/unique_fd.h"

namespace stasis::criu {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

Process Node() {
  Process process;
  process.pid = 4007;
  process.inside = 7;
  process.name = "node";
  return process;
}

Status DumpStatus(const std::string& error) {
  return ExplainDump(ParseLog("(00.1) Dumping task (pid: 4007 comm: node)\n(00.1) Error (criu/x.c:1): " +
                              error + "\n(00.2) Error (criu/cr-dump.c:1): Dumping FAILED.\n"),
                     {Node()}, "/run/x/dump.log", "");
}

std::string Dump(const std::string& error) { return Message(DumpStatus(error)); }

std::string Restore(const std::string& error) {
  return ExplainRestore(ParseLog("(00.1)      1: Error (criu/x.c:1): " + error + "\n"), "/run/x/restore.log");
}

TEST(VerdictTest, OpenFilesThatCannotBeSaved) {
  struct Case {
    std::string_view link;
    FileKind kind;
    unsigned major, minor;
    std::string_view says;  // empty: no objection
  };
  const Case cases[] = {
      {"anon_inode:[io_uring]", FileKind::kOther, 0, 0, "process 7 (node) holds an io_uring instance"},
      {"anon_inode:[userfaultfd]", FileKind::kOther, 0, 0, "process 7 (node) holds a userfaultfd"},
      {"anon_inode:[perf_event]", FileKind::kOther, 0, 0, "process 7 (node) holds a perf event"},
      {"anon_inode:[eventpoll]", FileKind::kOther, 0, 0, ""},
      {"anon_inode:inotify", FileKind::kOther, 0, 0, ""},
      {"pipe:[17]", FileKind::kOther, 0, 0, ""},
      {"/data/anon_inode:[io_uring]", FileKind::kOther, 0, 0, ""},
      {"/dev/null", FileKind::kCharacterDevice, 1, 3, ""},
      {"/dev/urandom", FileKind::kCharacterDevice, 1, 9, ""},
      {"/dev/pts/0", FileKind::kCharacterDevice, 136, 0, ""},
      {"/dev/ptmx", FileKind::kCharacterDevice, 5, 2, ""},
      {"/dev/net/tun", FileKind::kCharacterDevice, 10, 200, ""},
      {"/dev/fuse", FileKind::kCharacterDevice, 10, 229,
       "process 7 (node) has the device /dev/fuse (10:229) open"},
      {"/dev/sda", FileKind::kBlockDevice, 8, 0, "process 7 (node) has the device /dev/sda (8:0) open"},
  };
  for (const Case& one : cases) {
    auto verdict = JudgeFile(Node(), one.link, one.kind, one.major, one.minor);
    EXPECT_EQ(verdict.has_value(), !one.says.empty()) << one.link;
    EXPECT_THAT(verdict.value_or(""), StartsWith(std::string(one.says)));
  }
}

TEST(VerdictTest, TheSurveyFindsWhatThisProcessHolds) {
  auto tree = ReadProcessTree(::getpid());
  ASSERT_TRUE(tree.ok()) << tree.status();
  if ((*tree)[0].tracer != 0) GTEST_SKIP() << "this test is run under a debugger";
  Losses losses;
  EXPECT_EQ(Survey(*tree, &losses), std::nullopt);

  UniqueFd userfaultfd(static_cast<int>(::syscall(SYS_userfaultfd, 1 /* UFFD_USER_MODE_ONLY */)));
  if (!userfaultfd.valid()) GTEST_SKIP() << "userfaultfd(2) is refused here";
  auto verdict = Survey(*tree, &losses);
  ASSERT_TRUE(verdict.has_value());
  EXPECT_THAT(*verdict, StartsWith(Label((*tree)[0]) + " holds a userfaultfd"));
}

std::optional<std::string> SurveyOfThisProcess() {
  auto tree = ReadProcessTree(::getpid());
  EXPECT_TRUE(tree.ok()) << tree.status();
  Losses losses;
  return tree.ok() && (*tree)[0].tracer == 0 ? Survey(*tree, &losses) : "this test is run under a debugger";
}

TEST(VerdictTest, AnEventfdThatIsASemaphoreIsRefused) {
  const UniqueFd plain(::eventfd(3, EFD_CLOEXEC));
  EXPECT_EQ(SurveyOfThisProcess(), std::nullopt);
  const UniqueFd semaphore(::eventfd(3, EFD_CLOEXEC | EFD_SEMAPHORE));
  EXPECT_THAT(SurveyOfThisProcess().value_or(""), HasSubstr("holds an eventfd that is a semaphore"));
}

TEST(VerdictTest, ATimerForTheFirstThreadIsRefused) {
  struct sigevent event = {};
  event.sigev_signo = SIGUSR1;
  event.sigev_notify = SIGEV_THREAD_ID;
  event._sigev_un._tid = ::getpid();
  timer_t timer = nullptr;
  ASSERT_EQ(::timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
  EXPECT_THAT(SurveyOfThisProcess().value_or(""), HasSubstr("has a timer that signals its first thread"));
  ::timer_delete(timer);
  EXPECT_EQ(SurveyOfThisProcess(), std::nullopt);
}

TEST(VerdictTest, AThreadWithSomethingOfItsOwnIsRefused) {
  for (const auto& [flag, what] :
       {std::pair{CLONE_FS, "a working directory"}, std::pair{CLONE_FILES, "open files"},
        std::pair{CLONE_NEWUTS, "a UTS namespace"}}) {
    std::promise<bool> unshared;
    std::promise<void> seen;
    std::jthread thread([&, flag = flag] {
      unshared.set_value(::unshare(flag) == 0);
      seen.get_future().wait();
    });
    const bool allowed = unshared.get_future().get();
    const auto verdict = SurveyOfThisProcess();
    seen.set_value();
    if (allowed) {
      EXPECT_THAT(verdict.value_or(""),
                  HasSubstr(std::string("has a thread ") + (flag == CLONE_NEWUTS ? "in " : "with ") + what))
          << what;
    }
  }
}

TEST(VerdictTest, ADumpThatFailedIsExplained) {
  EXPECT_THAT(Dump("Can't dump file 5 of that type [600] (anon anon_inode:[io_uring])"),
              StartsWith("process 7 (node) holds an io_uring instance"));
  EXPECT_THAT(Dump("Can't dump file 5 of that type [20666] (chr 10:229)"),
              StartsWith("process 7 (node) has a device (10:229) open"));
  EXPECT_THAT(Dump("Can't dump file 5 of that type [600] (anon anon_inode:[new_thing])"),
              StartsWith("process 7 (node) holds a kernel object (anon_inode:[new_thing])"));
  EXPECT_THAT(Dump("Can't open 4007's mapfile link 7f00: No such device or address"), HasSubstr("io_uring"));
  EXPECT_THAT(Dump("Can't dump nested pid namespace for 4007"),
              StartsWith("process 7 (node) runs in a namespace (pid) of its own"));
  EXPECT_THAT(Dump("inet: Connected TCP socket, consider using --tcp-established option."),
              StartsWith("process 7 (node) has an established TCP connection"));
  EXPECT_THAT(Dump("Can't lookup mount=26 for fd=1 path=/tmp/out"), HasSubstr("(/tmp/out)"));
  EXPECT_THAT(Dump("zombie 4007 (comm node) found while seizing"),
              StartsWith("process 7 (node) cannot be stopped"));
  EXPECT_THAT(Dump("fsnotify: \tCan't dump that handle"), StartsWith("process 7 (node) watches a file"));
  EXPECT_THAT(Dump("inet: In-flight connections can be ignored with the --skip-in-flight option."),
              StartsWith("process 7 (node) has a TCP connection that nobody has accepted yet"));
  EXPECT_THAT(Dump("netlink: The socket has data to read"), StartsWith("process 7 (node) has not read"));
  EXPECT_THAT(Dump("sockets: BUG! Unknown socket collected (family 40)"), HasSubstr("of a family (40)"));
  EXPECT_THAT(Dump("The packetized mode for pipes is not supported yet"), HasSubstr("a pipe in packet mode"));
  EXPECT_THAT(Dump("Can't create link remap for /tmp/d. Use link-remap option."), HasSubstr("(/tmp/d)"));
  EXPECT_THAT(Dump("Can't make VM id for 4007"), HasSubstr("shares its memory"));
  EXPECT_THAT(Dump("Can't make FS id for 4007"), HasSubstr("shares its working directory"));
  EXPECT_THAT(Dump("Unable to freeze cgroup /x (100 x 100ms attempts, timeout: 10s)"),
              StartsWith("the container could not be frozen"));
  const Status full = DumpStatus("Can't write image: No space left on device");
  EXPECT_THAT(Message(full), StartsWith("the disk is full"));
  EXPECT_TRUE(absl::IsResourceExhausted(full));
  EXPECT_EQ(DumpStatus("Unable to freeze cgroup").code(), StatusCode::kInternal);
}

TEST(VerdictTest, WhatPassesByItselfIsSaidToBeSo) {
  for (const char* error : {"In-flight connections", "netlink: The socket has data to read",
                            "zombie 4007 (comm node) found while seizing"})
    EXPECT_TRUE(absl::IsUnavailable(DumpStatus(error))) << error;
  EXPECT_TRUE(absl::IsResourceExhausted(DumpStatus("No space left on device")));
  for (const char* error : {"Can't make VM id for 4007", "something new"})
    EXPECT_TRUE(absl::IsInternal(DumpStatus(error))) << error;
}

TEST(VerdictTest, AnUnknownCauseShowsCriusWordsAndTheLog) {
  EXPECT_EQ(Dump("something new"), "CRIU: something new (log: /run/x/dump.log)");
  EXPECT_EQ(Message(ExplainDump({}, {}, "/l", "Permission denied")), "CRIU: Permission denied (log: /l)");
  EXPECT_EQ(Message(ExplainDump({}, {}, "/l", "")), "CRIU failed and left no reason (log: /l)");
}

TEST(VerdictTest, ARestoreThatFailedNamesTheFile) {
  EXPECT_EQ(Restore("File tmp/data has bad size 9 (expect 5)"),
            "the file /tmp/data was changed since the checkpoint: its size has changed");
  EXPECT_EQ(Restore("File usr/bin/x has bad build-ID"),
            "the program /usr/bin/x was changed since the checkpoint");
  EXPECT_EQ(Restore("File tmp/data has bad mode 0100600 (expect 0100644)"),
            "the file /tmp/data was changed since the checkpoint: its mode is another");
  EXPECT_EQ(Restore("Can't open file tmp/data on restore: No such file or directory"),
            "the file /tmp/data is missing, which was open at the checkpoint");
  EXPECT_EQ(
      Restore("Can't fork for 7: Resource temporarily unavailable"),
      "the container's limit of processes (pids) leaves no room to restore process 7; give it some more");
  EXPECT_EQ(Restore("Can't fork for 7: File exists"),
            "a process number (7) that the container used is taken");
  EXPECT_THAT(Restore("mnt: No mapping for 91:(null) mountpoint"),
              StartsWith("a mount of the checkpoint is missing"));
  EXPECT_THAT(Restore("inet: Can't bind inet socket (id 7): Cannot assign requested address"),
              StartsWith("an address of a TCP connection"));
  EXPECT_THAT(
      ExplainRestore(ParseLog("(00.1)      9: inet: \tRestore: family AF_INET    type SOCK_STREAM    proto "
                              "IPPROTO_TCP      port 80 state TCP_LISTEN       src_addr 10.0.0.9\n"
                              "(00.1)      7: inet: \tRestore: family AF_INET    type SOCK_STREAM    proto "
                              "IPPROTO_TCP      port 6379 state TCP_LISTEN       src_addr 10.0.0.2\n"
                              "(00.2)      7: Error (criu/sk-inet.c:1): inet: Can't bind inet socket (id 4): "
                              "Address already in use\n"),
                     "/l"),
      StartsWith("the address 10.0.0.2:6379 of a TCP connection"));
  EXPECT_THAT(Restore("Unable to create a thread: -11"), StartsWith("the container's limit of processes"));
  EXPECT_THAT(Restore("sfd: Can't chose service_fd_base: 19968 20031"),
              HasSubstr("raise the limit (nofile)"));
  EXPECT_EQ(Restore("something new"), "CRIU: something new (log: /run/x/restore.log)");
}

}  // namespace
}  // namespace stasis::criu
