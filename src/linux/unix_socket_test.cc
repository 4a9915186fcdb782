#include "linux/unix_socket.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>
#include <thread>

#include "gtest/gtest.h"
#include "linux/files.h"

namespace stasis {
namespace {

using std::chrono::milliseconds;

Deadline Soon() { return After(milliseconds(10000)); }

class UnixSocketTest : public testing::Test {
 protected:
  void SetUp() override {
    auto directory = TemporaryDirectory::Create("/tmp", "stasis-socket-test-");
    ASSERT_TRUE(directory.ok());
    directory_.emplace(*std::move(directory));
    path_ = directory_->path() + "/s.sock";
  }
  std::optional<TemporaryDirectory> directory_;
  std::string path_;
};

TEST_F(UnixSocketTest, BytesGoBothWaysWithTheRightMode) {
  auto listener = UnixListener::Listen(path_, 0660);
  ASSERT_TRUE(listener.ok()) << listener.status();
  struct stat found;
  ASSERT_EQ(::stat(path_.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0660u);
  auto client = ConnectUnix(path_);
  ASSERT_TRUE(client.ok()) << client.status();
  auto server = listener->Accept({});
  ASSERT_TRUE(server.ok());
  EXPECT_EQ(*PeerUid(server->get()), ::getuid());
  ASSERT_TRUE(SendExactly(client->get(), "hello", Soon(), {}).ok());
  char word[5];
  ASSERT_TRUE(ReadExactly(server->get(), word, 5, Soon(), {}).ok());
  EXPECT_EQ(std::string(word, 5), "hello");
  client->reset();
  EXPECT_EQ(ReadExactly(server->get(), word, 1, Soon(), {}).code(), StatusCode::kUnavailable);
  EXPECT_EQ(SendExactly(server->get(), "x", Soon(), {}).code(), StatusCode::kUnavailable) << "and no SIGPIPE";
}

TEST_F(UnixSocketTest, ASecondServerIsRefusedWhileTheFirstLives) {
  auto first = UnixListener::Listen(path_);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(UnixListener::Listen(path_).status().code(), StatusCode::kAlreadyExists);
  EXPECT_TRUE(ConnectUnix(path_).ok()) << "the first is not disturbed";
  { UnixListener gone = *std::move(first); }
  EXPECT_FALSE(Exists(path_));
  EXPECT_TRUE(UnixListener::Listen(path_).ok());
}

TEST_F(UnixSocketTest, AStaleSocketIsReplacedAndAFileIsNot) {
  std::string aside = directory_->path() + "/aside";
  {
    auto dead = UnixListener::Listen(path_);
    ASSERT_TRUE(dead.ok());
    ASSERT_EQ(::rename(path_.c_str(), aside.c_str()), 0);  // as one killed leaves it
  }
  ASSERT_EQ(::rename(aside.c_str(), path_.c_str()), 0);
  EXPECT_EQ(ConnectUnix(path_).status().code(), StatusCode::kUnavailable);
  EXPECT_TRUE(UnixListener::Listen(path_).ok());
  ASSERT_TRUE(WriteFileAtomically(path_, "precious").ok());
  EXPECT_EQ(UnixListener::Listen(path_).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(*ReadFile(path_), "precious");
  EXPECT_EQ(ConnectUnix(directory_->path() + "/none").status().code(), StatusCode::kNotFound);
}

TEST_F(UnixSocketTest, AssigningAListenerUnlinksTheOldOne) {
  auto first = UnixListener::Listen(path_);
  auto second = UnixListener::Listen(path_ + "2");
  ASSERT_TRUE(first.ok() && second.ok());
  {
    *first = *std::move(second);
    const UnixListener old =
        *std::move(second);  // NOLINT(bugprone-use-after-move): it holds what `first` had
  }
  EXPECT_FALSE(Exists(path_));
  EXPECT_TRUE(ConnectUnix(path_ + "2").ok());
}

TEST_F(UnixSocketTest, PathsLongerThanAnAddressWork) {
  std::string deep = directory_->path() + "/" + std::string(100, 'd') + "/" + std::string(100, 'e');
  ASSERT_TRUE(MakeDirectories(deep).ok());
  auto listener = UnixListener::Listen(deep + "/x.sock");
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_TRUE(ConnectUnix(deep + "/x.sock").ok());
  EXPECT_EQ(UnixListener::Listen(deep + "/" + std::string(120, 'n')).status().code(),
            StatusCode::kInvalidArgument);
}

TEST_F(UnixSocketTest, AcceptCanBeCancelled) {
  auto listener = UnixListener::Listen(path_);
  ASSERT_TRUE(listener.ok());
  std::stop_source source;
  std::jthread canceller([&source] { source.request_stop(); });
  EXPECT_EQ(listener->Accept(source.get_token()).status().code(), StatusCode::kCancelled);
}

TEST_F(UnixSocketTest, AServerThatNeverAcceptsDoesNotHoldAClientForEver) {
  auto listener = UnixListener::Listen(path_);
  ASSERT_TRUE(listener.ok());
  std::vector<UniqueFd> clients;
  Status status;
  while (status.ok() && clients.size() < 20000) {
    auto client = ConnectUnix(path_);
    status = client.status();
    if (client.ok()) clients.push_back(*std::move(client));
  }
  EXPECT_TRUE(status.code() == StatusCode::kUnavailable || status.code() == StatusCode::kResourceExhausted)
      << status;
}

TEST(SocketPairTest, ReadingAndSendingAreBounded) {
  auto pair = *MakeSocketPair();
  char byte;
  EXPECT_EQ(ReadExactly(pair.first.get(), &byte, 1, After(milliseconds(10)), {}).code(),
            StatusCode::kDeadlineExceeded);
  std::string much(8 << 20, 'x');
  EXPECT_EQ(SendExactly(pair.first.get(), much, After(milliseconds(10)), {}).code(),
            StatusCode::kDeadlineExceeded);
}

TEST(SocketPairTest, DescriptorsTravel) {
  auto pair = *MakeSocketPair();
  auto pipe = *MakePipe();
  ASSERT_TRUE(SendWithFds(pair.first.get(), "console", {pipe.write_end.get(), pipe.read_end.get()}).ok());
  auto received = ReceiveWithFds(pair.second.get(), Soon(), {});
  ASSERT_TRUE(received.ok()) << received.status();
  EXPECT_EQ(received->bytes, "console");
  ASSERT_EQ(received->fds.size(), 2u);
  EXPECT_EQ(::fcntl(received->fds[0].get(), F_GETFD), FD_CLOEXEC);
  ASSERT_TRUE(WriteAll(received->fds[0].get(), "x").ok());
  char byte;
  EXPECT_TRUE(ReadExactly(pipe.read_end.get(), &byte, 1, Soon(), {}).ok());
  ASSERT_TRUE(SendWithFds(pair.first.get(), "plain", {}).ok());
  EXPECT_EQ(ReceiveWithFds(pair.second.get(), Soon(), {})->bytes, "plain");
  EXPECT_EQ(SendWithFds(pair.first.get(), "", {}).code(), StatusCode::kInvalidArgument);
  pair.first.reset();
  EXPECT_EQ(ReceiveWithFds(pair.second.get(), Soon(), {}).status().code(), StatusCode::kUnavailable);
}

}  // namespace
}  // namespace stasis
