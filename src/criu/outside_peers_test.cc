#include "criu/outside_peers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "linux/files.h"

namespace stasis::criu {
namespace {

using testing::HasSubstr;

sockaddr_un Address(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  return address;
}

// The container is a child of this process, which is outside.
class OutsidePeersTest : public testing::Test {
 protected:
  // With what this process has open, but `closed`.
  void Begin(int closed) {
    int ready[2];
    ASSERT_EQ(::pipe(ready), 0);
    child_ = ::fork();
    if (child_ == 0) {
      ::close(closed);
      ::close(ready[1]);
      ::close(ready[0]);
      for (;;) ::pause();
    }
    ::close(ready[1]);
    char end = 0;
    ASSERT_EQ(::read(ready[0], &end, 1), 0);  // the child has closed what it should
    ::close(ready[0]);
  }
  void TearDown() override {
    if (child_ <= 0) return;
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }
  StatusOr<std::vector<OutsidePeer>> Find() {
    Process process;
    process.pid = child_;
    process.inside = 7;
    process.name = "program";
    return FindOutsidePeers({process}, directory_.path() + "/peers", After(std::chrono::seconds(10)), {});
  }

  TemporaryDirectory directory_ = *TemporaryDirectory::Create("/tmp", "stasis-outside-peers-");
  pid_t child_ = -1;
};

TEST_F(OutsidePeersTest, AConnectionToAProcessOutsideIsNamed) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  Begin(ends[0]);
  ::close(ends[1]);
  const auto found = Find();
  EXPECT_EQ(found.status().code(), StatusCode::kInternal);
  EXPECT_THAT(Message(found.status()),
              HasSubstr("process 7 (program) is connected by a unix socket to process " +
                        std::to_string(::getpid()) + " ("));
  ::close(ends[0]);
  const auto closed = Find();
  ASSERT_TRUE(closed.ok()) << Message(closed.status());
  EXPECT_TRUE(closed->empty());
  EXPECT_FALSE(Exists(directory_.path() + "/peers"));
}

TEST_F(OutsidePeersTest, ADatagramSocketIsKeptByThePathOfItsPeer) {
  const std::string path = directory_.path() + "/log";
  const sockaddr_un address = Address(path);
  const UniqueFd server(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::bind(server.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  UniqueFd client(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  Begin(server.get());
  client = UniqueFd();
  const auto found = Find();
  ASSERT_TRUE(found.ok()) << Message(found.status());
  ASSERT_EQ(found->size(), 1U);
  EXPECT_EQ(found->front().path, path);
  EXPECT_EQ(ReadFile(directory_.path() + "/peers").value_or(""),
            std::to_string(found->front().socket) + " " + std::to_string(found->front().peer) + "\n");
}

}  // namespace
}  // namespace stasis::criu
