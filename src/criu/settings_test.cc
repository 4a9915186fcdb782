#include "criu/settings.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

#include "criu/socket_options.h"
#include "linux/unique_fd.h"

namespace stasis::criu {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

std::vector<Process> Self() {
  Process self;
  self.pid = self.inside = ::getpid();
  return {self};
}

const std::map<pid_t, pid_t> kSelf = {{::getpid(), ::getpid()}};

int Option(const UniqueFd& socket, int level, int option) {
  int value = -1;
  socklen_t size = sizeof value;
  EXPECT_EQ(::getsockopt(socket.get(), level, option, &value, &size), 0);
  return value;
}

void Set(const UniqueFd& socket, int level, int option, int value) {
  EXPECT_EQ(::setsockopt(socket.get(), level, option, &value, sizeof value), 0);
}

TEST(SettingsTest, OptionsOfSocketsComeBack) {
  const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const std::string mine = std::to_string(::getpid()) + " " + std::to_string(socket.get()) + " ";
  EXPECT_THAT(ReadSettings(Self()), Not(HasSubstr(mine)));
  Set(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, 12345);
  Set(socket, IPPROTO_IP, IP_RECVERR, 1);
  const std::string settings = ReadSettings(Self());
  EXPECT_THAT(settings, HasSubstr("descriptor " + mine + "tcp_user_timeout 12345\n"));
  Set(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, 0);
  Set(socket, IPPROTO_IP, IP_RECVERR, 0);
  RestoreSettings(settings, kSelf);
  EXPECT_EQ(Option(socket, IPPROTO_TCP, TCP_USER_TIMEOUT), 12345);
  EXPECT_EQ(Option(socket, IPPROTO_IP, IP_RECVERR), 1);
}

TEST(SettingsTest, GroupsThatASocketHasJoinedComeBack) {
  const UniqueFd before(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const UniqueFd other(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ip_mreqn group = {.imr_multiaddr = {htonl(0xefff0107)}, .imr_address = {}, .imr_ifindex = 1};
  if (::setsockopt(before.get(), IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group) != 0)
    GTEST_SKIP() << "the first interface has no multicast";
  const std::string settings = ReadSettings(Self());
  EXPECT_THAT(settings, HasSubstr("group " + std::to_string(::getpid()) + " " + std::to_string(before.get()) +
                                  " 1 239.255.1.7\n"));
  EXPECT_THAT(settings, Not(HasSubstr(" " + std::to_string(other.get()) + " 1 239.255.1.7\n")));
  ASSERT_EQ(::setsockopt(before.get(), IPPROTO_IP, IP_DROP_MEMBERSHIP, &group, sizeof group), 0);
  RestoreSettings(settings, kSelf);
  EXPECT_EQ(::setsockopt(before.get(), IPPROTO_IP, IP_DROP_MEMBERSHIP, &group, sizeof group), 0)
      << "it is a member again";
}

TEST(SettingsTest, AnExclusiveTerminalComesBack) {
  const UniqueFd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!master.valid() || ::grantpt(master.get()) != 0 || ::unlockpt(master.get()) != 0) GTEST_SKIP();
  const UniqueFd terminal(::open(::ptsname(master.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
  ASSERT_EQ(::ioctl(terminal.get(), TIOCEXCL), 0);
  const std::string settings = ReadSettings(Self());
  ASSERT_EQ(::ioctl(terminal.get(), TIOCNXCL), 0);
  RestoreSettings(settings, kSelf);
  int exclusive = 0;
  ASSERT_EQ(::ioctl(terminal.get(), TIOCGEXCL, &exclusive), 0);
  EXPECT_EQ(exclusive, 1);
}

TEST(SettingsTest, LinesThatSayNothingArePassedOver) {
  const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const std::string mine = std::to_string(::getpid()) + " " + std::to_string(socket.get());
  RestoreSettings("\n\0x\ndescriptor\ndescriptor " + mine + "\ndescriptor " + mine + " what 7\ndescriptor " +
                      mine + " tcp_user_timeout 7x\ndescriptor 1 -1 tcp_user_timeout 9\ngroup " + mine +
                      " 1 nowhere\nprocess " + std::to_string(::getpid()) + " what 1\n",
                  kSelf);
  EXPECT_EQ(Option(socket, IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
  EXPECT_FALSE(SocketOptions::Set(socket.get(), "tcp_user_timeout", ""));
  EXPECT_THAT(SocketOptions().Read(0), IsEmpty());
}

}  // namespace
}  // namespace stasis::criu
