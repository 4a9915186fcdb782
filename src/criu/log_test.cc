#include "criu/log.h"

#include <gtest/gtest.h>

namespace stasis::criu {
namespace {

// Of CRIU 4.2.1 on this project's machines, shortened.
constexpr char kFileOutside[] =
    R"((00.000058) Version: 4.2.1 (gitid 0)
(00.147) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted
(00.160000) Dumping processes (pid: 7516 comm: python3)
(00.187150) Dumping task (pid: 7516 comm: python3)
(00.187181) Error (criu/files-reg.c:1790): Can't lookup mount=26 for fd=1 path=/tmp/ck/outfile
(00.187199) Error (criu/cr-dump.c:1545): Dump files (pid: 7516) failed with -1
(00.193181) Error (criu/cr-dump.c:1975): Dumping FAILED.
(00.200000) Error (criu/never.c:1): after the end
)";

constexpr char kFileChanged[] =
    R"((00.154337) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted
(00.428579)      1: Error (criu/files-reg.c:2175): File tmp/data has bad size 9 (expect 5)
(00.428585)      1: Error (criu/files.c:1221): Unable to open fd=3 id=0xc
(00.437714) Error (criu/cr-restore.c:2331): Restoring FAILED.
(00.462192) Error (criu/cgroup.c:2055): cg: cgroupd: recv req error: No such file or directory
)";

TEST(CriuLogTest, TheCauseIsTheLastErrorThatIsNoConsequence) {
  Log log = ParseLog(kFileOutside);
  EXPECT_TRUE(log.failed);
  EXPECT_EQ(log.cause, "Can't lookup mount=26 for fd=1 path=/tmp/ck/outfile");
  ASSERT_EQ(log.errors.size(), 2u) << "neither the harmless one nor the one after the end";
  EXPECT_EQ(log.errors[0].place, "criu/files-reg.c:1790");
  EXPECT_EQ(log.errors[0].process, 7516) << "whom CRIU was working on";
  EXPECT_EQ(log.errors[1].process, 7516);
}

TEST(CriuLogTest, ALineOfARestoreNamesItsProcess) {
  Log log = ParseLog(kFileChanged);
  EXPECT_TRUE(log.failed);
  EXPECT_EQ(log.cause, "File tmp/data has bad size 9 (expect 5)");
  EXPECT_EQ(log.errors[0].process, 1);
}

TEST(CriuLogTest, TheEndOfARestoreIsToldByTheProcessItself) {
  Log log = ParseLog(
      "(00.942062) pie: 1: Error (criu/pie/restorer.c:2185): Unable to create a thread: -11\n"
      "(00.942063) pie: 1: Error (criu/pie/restorer.c:2332): Restorer fail 1\n"
      "(01.011986) Error (criu/cr-restore.c:2331): Restoring FAILED.\n");
  EXPECT_EQ(log.cause, "Unable to create a thread: -11");
  EXPECT_EQ(log.errors[0].process, 1);
}

TEST(CriuLogTest, ADirectoryThatIsRemovedTwiceIsNoCause) {
  Log log = ParseLog(
      "(00.942062) Error (compel/src/lib/infect.c:1628): Task 77 is in unexpected state: b7f\n"
      "(01.011980) Error (criu/mount.c:3700): mnt: Can't remove the directory /tmp/.criu.mntns.Yk3Zp1: No "
      "such "
      "file or directory\n"
      "(01.011986) Error (criu/cr-restore.c:2331): Restoring FAILED.\n");
  EXPECT_EQ(log.cause, "Task 77 is in unexpected state: b7f");
}

TEST(CriuLogTest, LinesOfHelpersHaveNoTime) {
  Log log = ParseLog("Error (criu/util.c:642): execvp(\"tar\", ...) failed: No such file or directory\n");
  EXPECT_FALSE(log.failed);
  EXPECT_EQ(log.cause, "execvp(\"tar\", ...) failed: No such file or directory");
}

TEST(CriuLogTest, OnlyConsequencesAreBetterThanNothing) {
  EXPECT_EQ(ParseLog("(00.1) Error (criu/cr-dump.c:1): Dump core (pid: 7) failed with -1\n").cause,
            "Dump core (pid: 7) failed with -1");
}

TEST(CriuLogTest, WhatIsNoLogHasNoErrors) {
  for (const std::string& text :
       {std::string(), std::string("\n\n"), std::string("Error"), std::string("(00.1"),
        std::string("(00.1) Error (x"), std::string("(00.1)  x: Error (a:1): b"), std::string(3, '\0'),
        std::string("(00.1) 99999999999999: Error (a:1): b")}) {
    Log log = ParseLog(text);
    EXPECT_TRUE(log.errors.empty()) << text;
    EXPECT_EQ(log.cause, "");
    EXPECT_FALSE(log.failed);
  }
}

TEST(CriuLogTest, TextIsPrintableAndBounded) {
  std::string text = "(00.1) Error (a.c:1): \x1b[2J" + std::string(5000, 'x') + "\n";
  Log log = ParseLog(text);
  ASSERT_EQ(log.errors.size(), 1u);
  EXPECT_EQ(log.errors[0].text.substr(0, 7), "\\x1b[2J");
  EXPECT_LE(log.errors[0].text.size(), 1100u);

  std::string many;
  for (int i = 0; i < 1000; ++i) many += "(00.1) Error (a.c:1): number " + std::to_string(i) + "\n";
  log = ParseLog(many);
  EXPECT_EQ(log.errors.size(), kMaxErrors);
  EXPECT_EQ(log.cause, "number 999");
}

TEST(CriuLogTest, AFileThatIsNotThereIsNotFound) {
  EXPECT_TRUE(absl::IsNotFound(ReadLog("/nonexistent/dump.log").status()));
}

}  // namespace
}  // namespace stasis::criu
