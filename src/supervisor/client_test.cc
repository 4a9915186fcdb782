// The client against servers that misbehave.
#include "supervisor/client.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>
#include <thread>

#include "linux/files.h"
#include "linux/unix_socket.h"
#include "supervisor/testing/strange_server.h"

namespace stasis::supervisor {
namespace {

class ClientTest : public testing::Test {
 protected:
  void SetUp() override {
    ::signal(SIGPIPE, SIG_IGN);  // the relay writes to connections that are gone
    auto directory = TemporaryDirectory::Create("/tmp", "client-test-");
    ASSERT_TRUE(directory.ok());
    directory_ = std::make_unique<TemporaryDirectory>(*std::move(directory));
    socket_ = directory_->path() + "/server.sock";
    server_ = std::make_unique<StrangeServer>(socket_);
    client_ = std::make_unique<Client>(socket_, std::vector<std::shared_ptr<Interceptor>>{log_});
  }

  Status Call(const std::string& method, const CallOptions& options = {}) {
    types::SignalRequest request;
    request.set_id(text_);
    return client_->Invoke(method, request, &answer_, options);
  }

  std::unique_ptr<TemporaryDirectory> directory_;
  std::string socket_;
  std::string text_ = "text";
  types::SignalRequest answer_;
  std::unique_ptr<StrangeServer> server_;
  std::shared_ptr<CallLog> log_ = std::make_shared<CallLog>();
  std::unique_ptr<Client> client_;
};

TEST_F(ClientTest, ACallByItsNameGetsItsAnswer) {
  Status status = Call("/x/Echo");
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(answer_.id(), "text");
  EXPECT_EQ(server_->record().encoding, "");
}

TEST_F(ClientTest, ARequestIsCompressedOnlyWhenAsked) {
  text_ = std::string(100000, 'x');
  CallOptions options;
  options.compress = true;
  Status status = Call("/x/Echo", options);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(answer_.id(), text_);
}

TEST_F(ClientTest, AServerThatRejectsBeforeItReadsGivesTheFinalStatus) {
  text_ = std::string(8 << 20, 'x');  // more than any buffer takes: the write fails
  Status status = Call("/x/Reject");
  EXPECT_EQ(status.code(), StatusCode::kUnimplemented) << status;
  EXPECT_EQ(Message(status), "never heard of it");
}

TEST_F(ClientTest, AHangingServerEndsByTheDeadlineAndSeesTheCallCancelled) {
  CallOptions options;
  options.quiet_limit = std::chrono::milliseconds(100);
  Status status = Call("/x/Hang", options);
  EXPECT_EQ(status.code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(Message(status), "no progress for 100 ms");
  EXPECT_TRUE(server_->record().WaitCancelled(1));
}

TEST_F(ClientTest, ProgressKeepsACallGoingAndItsEndEndsIt) {
  CallOptions options;
  options.quiet_limit = std::chrono::milliseconds(200);
  uint64_t looks = 0;
  options.progress = [&]() -> std::optional<uint64_t> { return std::min<uint64_t>(++looks, 20); };
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(Call("/x/Hang", options).code(), StatusCode::kDeadlineExceeded);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(1000));
}

TEST_F(ClientTest, ACallCanBeCancelledBeforeAndWhileItRuns) {
  std::stop_source stop;
  CallOptions options;
  options.cancel = stop.get_token();
  auto call = std::async(std::launch::async, [&] { return Call("/x/Hang", options); });
  EXPECT_EQ(call.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);
  stop.request_stop();
  EXPECT_EQ(call.get().code(), StatusCode::kCancelled);
  EXPECT_TRUE(server_->record().WaitCancelled(1));
  EXPECT_EQ(Call("/x/Echo", options).code(), StatusCode::kCancelled);
}

TEST_F(ClientTest, AnswersThatAreNoneAreInternalErrors) {
  for (const char* method : {"/x/Garbage", "/x/Nothing", "/x/Twice"}) {
    EXPECT_EQ(Call(method).code(), StatusCode::kInternal) << method;
  }
  EXPECT_TRUE(Call("/x/Echo").ok()) << "the connection is as good as before";
}

TEST_F(ClientTest, ARequestThatCannotBeEncodedIsAnInternalErrorAndNothingIsSent) {
  text_ = "\xff not UTF-8";
  EXPECT_EQ(Call("/x/Echo").code(), StatusCode::kInternal);
  text_ = std::string(20 << 20, 'x');
  EXPECT_EQ(Call("/x/Echo").code(), StatusCode::kInternal);
  EXPECT_EQ(server_->record().done, 0);
}

TEST_F(ClientTest, ABusyServerIsToldApartFromABrokenConnection) {
  Status busy = Call("/x/Busy");
  EXPECT_EQ(busy.code(), StatusCode::kUnavailable);
  EXPECT_EQ(Message(busy), "come back later");
  EXPECT_FALSE(ConnectionBroken(busy));
  server_.reset();
  CallOptions soon;
  soon.quiet_limit = std::chrono::milliseconds(200);
  Status broken = Call("/x/Echo", soon);
  EXPECT_EQ(broken.code(), StatusCode::kUnavailable);
  EXPECT_TRUE(ConnectionBroken(broken)) << broken;
}

// Stands between client and server, and breaks every connection at its end, as the death of the server would.
class Relay {
 public:
  Relay(const std::string& path, const std::string& server) : listener_(UnixListener::Listen(path)) {
    thread_ = std::jthread([this, server](std::stop_token stop) {
      std::vector<std::jthread> pumps;
      for (;;) {
        auto client = listener_->Accept(stop);
        if (!client.ok()) break;
        auto upstream = ConnectUnix(server);
        if (!upstream.ok()) continue;
        pumps.emplace_back(&Relay::Pump, client->get(), upstream->get());
        pumps.emplace_back(&Relay::Pump, upstream->get(), client->get());
        sockets_.push_back(*std::move(client));
        sockets_.push_back(*std::move(upstream));
      }
      for (const UniqueFd& socket : sockets_) ::shutdown(socket.get(), SHUT_RDWR);
    });
  }

 private:
  static void Pump(int from, int to) {
    char buffer[4096];
    for (ssize_t got; (got = ::read(from, buffer, sizeof buffer)) > 0;) {
      if (!WriteAll(to, std::string_view(buffer, static_cast<size_t>(got))).ok()) return;
    }
  }

  StatusOr<UnixListener> listener_;
  std::vector<UniqueFd> sockets_;  // the thread's
  std::jthread thread_;
};

TEST_F(ClientTest, AServerThatDiesDuringACallBreaksTheConnectionAndIsFoundAgainWhenBack) {
  const std::string path = directory_->path() + "/relay.sock";
  auto relay = std::make_unique<Relay>(path, socket_);
  Client client(path);
  types::SignalRequest request;
  auto call = std::async(std::launch::async, [&] { return client.Invoke("/x/Hang", request, &answer_, {}); });
  EXPECT_EQ(call.wait_for(std::chrono::milliseconds(200)), std::future_status::timeout);
  relay.reset();
  Status died = call.get();
  EXPECT_EQ(died.code(), StatusCode::kUnavailable) << died;
  EXPECT_TRUE(ConnectionBroken(died)) << died;
  relay = std::make_unique<Relay>(path, socket_);
  Status again;
  for (int i = 0; i < 500; ++i) {
    again = client.Invoke("/x/Echo", request, &answer_, {});
    if (again.ok()) break;
    EXPECT_TRUE(ConnectionBroken(again)) << again;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(again.ok()) << again;
}

TEST_F(ClientTest, EveryCallIsCountedByMethodAndCode) {
  ASSERT_TRUE(Call("/x/Echo").ok());
  ASSERT_TRUE(Call("/x/Echo").ok());
  EXPECT_FALSE(Call("/x/Busy").ok());
  auto counts = log_->counts();
  EXPECT_EQ((counts[{"/x/Echo", StatusCode::kOk}].calls), 2u);
  EXPECT_EQ((counts[{"/x/Busy", StatusCode::kUnavailable}].calls), 1u);
  EXPECT_GT((counts[{"/x/Echo", StatusCode::kOk}].time.count()), 0);
}

TEST_F(ClientTest, InterceptorsStandAroundEachOtherInOrder) {
  struct Refuse final : Interceptor {
    Status Intercept(const std::string& method, const std::function<Status()>& next) override {
      return method == "/x/Refused" ? FailedPrecondition("not today") : next();
    }
  };
  Client client(socket_, {log_, std::make_shared<Refuse>()});
  EXPECT_EQ(client.Invoke("/x/Refused", answer_, &answer_, {}).code(), StatusCode::kFailedPrecondition);
  EXPECT_TRUE(client.Invoke("/x/Echo", answer_, &answer_, {}).ok());
  EXPECT_EQ((log_->counts()[{"/x/Refused", StatusCode::kFailedPrecondition}].calls), 1u);
}

TEST(ClientConnectionTest, NobodyThereIsABrokenConnection) {
  Client client("/nonexistent/socket");
  CallOptions options;
  options.quiet_limit = std::chrono::milliseconds(200);
  Status status = client.State({}, options).status();
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_TRUE(ConnectionBroken(status)) << status;
}

// A server that takes connections and says nothing, or talks nonsense, on plain sockets.
class PlainSocketTest : public testing::TestWithParam<std::string> {};

TEST_P(PlainSocketTest, DoesNotHoldTheCallerLongerThanItsLimit) {
  auto directory = TemporaryDirectory::Create("/tmp", "client-test-");
  ASSERT_TRUE(directory.ok());
  const std::string path = directory->path() + "/plain.sock";
  auto listener = UnixListener::Listen(path);
  ASSERT_TRUE(listener.ok());
  std::jthread server([&](std::stop_token stop) {
    std::vector<UniqueFd> connections;
    for (;;) {
      auto connection = listener->Accept(stop);
      if (!connection.ok()) return;
      WriteAll(connection->get(), GetParam()).IgnoreError();
      connections.push_back(*std::move(connection));
    }
  });
  Client client(path);
  CallOptions options;
  options.quiet_limit = std::chrono::milliseconds(500);
  Status status = client.State({}, options).status();
  EXPECT_TRUE(status.code() == StatusCode::kUnavailable || status.code() == StatusCode::kDeadlineExceeded)
      << status;
}

INSTANTIATE_TEST_SUITE_P(Kinds, PlainSocketTest,
                         testing::Values("", "HTTP/1.1 200 OK\r\n\r\n", std::string(1000, '\xff')));

}  // namespace
}  // namespace stasis::supervisor
