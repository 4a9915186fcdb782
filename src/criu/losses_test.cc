#include "criu/losses.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "linux/files.h"
#include "linux/proc.h"
#include "linux/unique_fd.h"

namespace stasis::criu {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Process Named(pid_t pid, const std::string& name) {
  Process process;
  process.pid = process.inside = pid;
  process.name = name;
  return process;
}

TEST(LossesTest, WhatSeveralProcessesLoseIsToldOnce) {
  Losses losses;
  losses.Add(Named(7, "a"), {"", "loses this"});
  losses.Add(Named(8, "b"), {"", "loses this"});
  losses.Add(Named(8, "b"), {"", "loses this"});
  losses.Add(Named(8, "b"), {"", "loses that"});
  EXPECT_THAT(losses.Warnings(),
              ElementsAre("process 7 (a), as another one, loses this", "process 8 (b) loses that"));
  losses.Add(Named(9, "c"), {"", "loses this"});
  EXPECT_EQ(losses.Warnings().front(), "process 7 (a), as 2 others, loses this");
  EXPECT_TRUE(losses.Judge({}).ok());
}

TEST(LossesTest, WhatWouldBeLessSafeIsRefusedUntilItIsAllowed) {
  Losses losses;
  losses.Add(Named(7, "a"), {"", "loses this"});
  losses.Add(Named(7, "a"), {kSealedMemory, "has sealed memory"});
  losses.Add(Named(8, "b"), {kLandlock, "is restricted"});
  EXPECT_EQ(Message(losses.Judge({"landlock"})),
            "process 7 (a) has sealed memory: it would be less safe than it is; create the container with "
            "--label stasis.checkpoint.allow=mseal to have it saved all the same");
  EXPECT_THAT(Message(losses.Judge({"mseal"})), HasSubstr("process 8 (b) is restricted"));
  EXPECT_TRUE(losses.Judge({"mseal", "landlock"}).ok());
  EXPECT_EQ(losses.Warnings().size(), 3u);
}

TEST(LossesTest, SpeculationThatIsRestrictedByTheProcessItselfIsFound) {
  const std::string_view plain =
      "Seccomp:\t2\nSpeculation_Store_Bypass:\tthread vulnerable\nSpeculationIndirectBranch:\tconditional "
      "enabled\n";
  const std::string_view store = "Seccomp:\t2\nSpeculation_Store_Bypass:\tthread force mitigated\n";
  EXPECT_FALSE(HasSpeculationControl(plain, false));
  EXPECT_TRUE(HasSpeculationControl(store, false));
  EXPECT_FALSE(HasSpeculationControl(store, true)) << "the restored filter brings it back";
  EXPECT_TRUE(HasSpeculationControl("Seccomp:\t0\nSpeculation_Store_Bypass:\tthread mitigated\n", true));
  EXPECT_TRUE(HasSpeculationControl("SpeculationIndirectBranch:\tconditional force disabled\n", false));
  for (const char* whole : {"not vulnerable", "globally mitigated", "always disabled", "unknown"}) {
    EXPECT_FALSE(HasSpeculationControl("Speculation_Store_Bypass:\t" + std::string(whole) + "\n", false));
    EXPECT_FALSE(HasSpeculationControl("SpeculationIndirectBranch:\t" + std::string(whole) + "\n", false));
  }
}

std::string Mapping(const std::string& name, const std::string& flags) {
  return "7f00-7f01 rw-p 00000000 00:00 0     " + name + "\nSize:    4 kB\nVmFlags: " + flags + " \n";
}

TEST(LossesTest, FlagsOfMemoryAreReadButNotOfTheKernelsOwn) {
  const std::string own = Mapping("[vdso]", "rd ex mr mw me de sl") + Mapping("[vvar_vclock]", "rd io pf sl");
  EXPECT_FALSE(ReadMemoryFlags(own).sealed);
  EXPECT_FALSE(ReadMemoryFlags(own).locked_all);
  EXPECT_TRUE(ReadMemoryFlags(own + Mapping("", "rd wr sl")).sealed);
  EXPECT_FALSE(ReadMemoryFlags(Mapping("/slow-slide sl", "rd wr mr")).sealed) << "a name is no flag";
  const std::string locked = own + Mapping("", "rd wr lo") + Mapping("/dev/x", "rd io");
  EXPECT_TRUE(ReadMemoryFlags(locked).locked_all);
  EXPECT_FALSE(ReadMemoryFlags(locked).locked_on_fault);
  EXPECT_FALSE(ReadMemoryFlags(locked + Mapping("", "rd wr")).locked_all);
  EXPECT_TRUE(ReadMemoryFlags(locked + Mapping("", "rd wr lo lf")).locked_on_fault);
}

// This process itself, with something that it does not keep after the test.
TEST(LossesTest, ThisProcessIsLookedAt) {
  const Process self = Named(::getpid(), "self");
  Losses before;
  FindLosses(self, &before);
  const int personality_before = ::personality(0xffffffff);
  ASSERT_GE(::personality(static_cast<unsigned long>(personality_before) | ADDR_NO_RANDOMIZE), 0);
  Losses after;
  FindLosses(self, &after);
  ::personality(static_cast<unsigned long>(personality_before));
  EXPECT_EQ(after.Warnings().size(),
            before.Warnings().size() + ((personality_before & ADDR_NO_RANDOMIZE) == 0))
      << testing::PrintToString(after.Warnings());
  EXPECT_THAT(after.Warnings(), testing::Contains(HasSubstr("has a personality of its own (0x0004")));
}

TEST(LossesTest, SealedMemoryIsFound) {
  const pid_t child = ::fork();
  if (child == 0) {
    void* page = ::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (::syscall(462, page, 4096UL, 0UL) != 0) ::_exit(77);
    Losses losses;
    FindMemoryLosses(Named(::getpid(), "self"), ::getpid(), &losses);
    ::_exit(losses.Judge({"mseal"}).ok() && Message(losses.Judge({})).find("mseal") != std::string::npos ? 0
                                                                                                         : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "this kernel has no mseal";
  EXPECT_EQ(status, 0);
}

std::vector<std::string> OfDescriptor(int fd) {
  Losses losses;
  const std::string number = std::to_string(fd);
  FindDescriptorLosses(Named(::getpid(), "self"), number, *ReadProcLink(ProcPath(::getpid(), "fd/" + number)),
                       &losses);
  return losses.Warnings();
}

TEST(LossesTest, WatchesOfDescriptorsAreFound) {
  const UniqueFd watches(::inotify_init1(IN_CLOEXEC));
  ::inotify_add_watch(watches.get(), "/tmp", IN_CREATE);
  EXPECT_THAT(OfDescriptor(watches.get()), IsEmpty());
  ::inotify_add_watch(watches.get(), "/", IN_CREATE | IN_ONESHOT);
  EXPECT_THAT(OfDescriptor(watches.get()), ElementsAre(HasSubstr("IN_ONESHOT")));
  const UniqueFd directory(::open("/tmp", O_RDONLY | O_CLOEXEC));
  EXPECT_THAT(OfDescriptor(directory.get()), IsEmpty());
  ASSERT_EQ(::fcntl(directory.get(), F_SETSIG, SIGWINCH), 0);
  ASSERT_EQ(::fcntl(directory.get(), F_NOTIFY, DN_CREATE | DN_MULTISHOT), 0);
  EXPECT_THAT(OfDescriptor(directory.get()), ElementsAre(HasSubstr("the directory /tmp by a signal")));
}

TEST(LossesTest, AttributesOfADeletedFileAreFound) {
  auto directory = TemporaryDirectory::Create("/var/tmp", "losses-");
  ASSERT_TRUE(directory.ok());
  const std::string path = directory->path() + "/file";
  const UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (::fsetxattr(file.get(), "user.a", "b", 1, 0) != 0) GTEST_SKIP() << "no extended attributes there";
  EXPECT_THAT(OfDescriptor(file.get()), IsEmpty());
  ::unlink(path.c_str());
  EXPECT_THAT(OfDescriptor(file.get()), ElementsAre(HasSubstr("whose extended attributes do not come back")));
}

TEST(LossesTest, WhatCriuSaysThatItDropsIsFound) {
  const Log log = ParseLog(
      "(00.01) Dumping task (pid: 70 comm: tail)\n"
      "(00.02) Warn  (criu/fsnotify.c:284): fsnotify: The 0x00000005 inotify events will be dropped\n");
  Losses losses;
  FindLossesInLog(log, {Named(7, "sh"), Named(70, "tail")}, &losses);
  EXPECT_THAT(losses.Warnings(), ElementsAre(HasSubstr("process 70 (tail) has not read all events")));
}

TEST(LossesTest, DatagramsThatNobodyHasReadAreFound) {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  ASSERT_EQ(::bind(socket.get(), generic, size), 0);
  ASSERT_EQ(::getsockname(socket.get(), generic, &size), 0);
  const std::vector<Process> self = {Named(::getpid(), "self")};
  Losses losses;
  FindUnreadDatagrams(UnreadDatagrams(::getpid()), self, &losses);
  EXPECT_THAT(losses.Warnings(), IsEmpty());
  ASSERT_EQ(::sendto(socket.get(), "x", 1, 0, generic, size), 1);
  FindUnreadDatagrams(UnreadDatagrams(::getpid()), self, &losses);
  EXPECT_THAT(losses.Warnings(), ElementsAre(HasSubstr("datagrams of a UDP socket")));
}

}  // namespace
}  // namespace stasis::criu
