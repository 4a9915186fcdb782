// Attach and exec: connections that leave HTTP.
#include "api/test_server.h"
#include "base/frames.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace stasis::api {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

constexpr char kAttach[] =
    "POST /v1.47/containers/c1/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\n"
    "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n";

TEST_F(ServerTest, AttachUpgradesAndCarriesBothDirections) {
  Start();
  RawClient client = Connect();
  client.Send(std::string(kAttach) + "early");  // stdin right behind the header
  EXPECT_THAT(client.ReadUntil("\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 101 UPGRADED\r\n"), HasSubstr("Upgrade: tcp\r\n"),
                    HasSubstr("Content-Type: application/vnd.docker.multiplexed-stream\r\n")));
  EXPECT_EQ(client.ReadUntil("early"), Frame(1, "early"));
  client.Send("more");
  EXPECT_EQ(client.ReadUntil("more"), Frame(1, "more"));
  // Half-close ends stdin; what the process says after it still arrives, then the end.
  client.HalfClose();
  EXPECT_EQ(client.ReadAll(), Frame(2, "bye\n"));
  EXPECT_FALSE(client.reset);
}

TEST_F(ServerTest, WithoutUpgradeTheAnswerIsDockers200) {
  Start();
  RawClient client = Connect();
  client.Send("POST /containers/c1/attach?stream=1&stdout=1 HTTP/1.1\r\n\r\n");
  EXPECT_THAT(client.ReadUntil("\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 200 OK\r\n"),
                    HasSubstr("Content-Type: application/vnd.docker.raw-stream\r\n")));
}

TEST_F(ServerTest, UpgradeAloneIsEnough) {
  Start();
  RawClient client = Connect();
  client.Send("POST /containers/c1/attach?stream=1&stdout=1 HTTP/1.1\r\nUpgrade: tcp\r\n\r\n");
  EXPECT_THAT(client.ReadUntil("\r\n\r\n"), StartsWith("HTTP/1.1 101 UPGRADED\r\n"));
}

TEST_F(ServerTest, ABodyBeforeTheStreamIsPassedOver) {
  Start();
  RawClient client = Connect();
  // As dockerode attaches; the second half of the body comes late.
  client.Send(
      "POST /containers/c1/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nContent-Type: application/json\r\n"
      "Content-Length: 15\r\n\r\n{\"stream\"");
  client.Send(":true}hello");
  EXPECT_THAT(client.ReadUntil("\r\n\r\n"), StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_EQ(client.ReadUntil("hello"), Frame(1, "hello"));

  RawClient large = Connect();
  large.Send("POST /containers/c1/attach?stream=1 HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n");
  large.Send(std::string(1000000, 'x'));
  EXPECT_THAT(large.ReadAll(), StartsWith("HTTP/1.1 413 "));
}

TEST_F(ServerTest, AnExecsStreamHasTheFormThatItsStartAsksFor) {
  Start();
  const auto start = [&](bool exec_tty, bool start_tty) {
    Post("/containers/c1/exec", exec_tty ? R"({"Cmd":["sh"],"Tty":true})" : R"({"Cmd":["sh"]})");
    engine_.terminal = exec_tty;
    engine_.process = [exec_tty](int socket) {
      for (const std::string text : {"one", "two"}) {
        const std::string bytes = exec_tty ? text : Frame(text == "one" ? 1 : 2, text);
        for (const char byte : bytes) SendExactly(socket, {&byte, 1}, kNoDeadline, {}).IgnoreError();
      }
    };
    RawClient client = Connect();
    const std::string body = start_tty ? R"({"Tty":true})" : "{}";
    client.Send(
        "POST /exec/e1/start HTTP/1.1\r\nContent-Type: application/json\r\nUpgrade: tcp\r\nContent-Length: " +
        std::to_string(body.size()) + "\r\n\r\n" + body);
    const std::string head = client.ReadUntil("\r\n\r\n");
    EXPECT_THAT(head, HasSubstr(start_tty ? "docker.raw-stream" : "docker.multiplexed-stream"));
    return client.ReadAll();
  };
  EXPECT_EQ(start(false, false), Frame(1, "one") + Frame(2, "two"));
  EXPECT_EQ(start(true, true), "onetwo");
  EXPECT_EQ(start(false, true), "onetwo");
  std::string framed = start(true, false);  // in frames of any size
  FrameDemultiplexer frames;
  std::string text;
  const auto add = [&](bool is_error, std::string_view bytes) {
    EXPECT_FALSE(is_error);
    text += bytes;
    return absl::OkStatus();
  };
  EXPECT_TRUE(frames.Feed(framed, add).ok());
  EXPECT_EQ(text, "onetwo");
}

TEST_F(ServerTest, TheDetachKeysLeaveATerminalToItself) {
  engine_.terminal = true;
  engine_.process = [this](int socket) {
    char buffer[64];
    ssize_t count = ::recv(socket, buffer, sizeof buffer, MSG_WAITALL);
    pollfd polled = {socket, 0, 0};
    ::poll(&polled, 1, 10000);
    engine_.process_saw_half_close = count != 2 || !(polled.revents & POLLHUP);
  };
  Start();
  EXPECT_THAT(Post("/containers/c1/attach?stream=1&stdin=1&detachKeys=ctrl-1", ""),
              AllOf(StartsWith("HTTP/1.1 400 "), HasSubstr("Invalid detach keys (ctrl-1) provided")));
  RawClient client = Connect();
  client.Send(
      "POST /containers/c1/attach?stream=1&stdin=1&stdout=1&detachKeys=ctrl-a,z HTTP/1.1\r\nUpgrade: "
      "tcp\r\n\r\n");
  client.ReadUntil("\r\n\r\n");
  client.Send("in\x01z dropped");
  EXPECT_EQ(client.ReadAll(), "");
  EXPECT_FALSE(client.reset);
  EXPECT_TRUE(engine_.detached.WaitBriefly());
  EXPECT_TRUE(engine_.process_ended.WaitBriefly());
  EXPECT_FALSE(engine_.process_saw_half_close);
}

TEST_F(ServerTest, ATerminalIsRaw) {
  engine_.terminal = true;
  Start();
  RawClient client = Connect();
  client.Send(kAttach);
  EXPECT_THAT(client.ReadUntil("\r\n\r\n"), HasSubstr("application/vnd.docker.raw-stream"));
}

TEST_F(ServerTest, OldClientsGetTheOldContentType) {
  Start();
  RawClient client = Connect();
  client.Send(
      "POST /v1.41/containers/c1/attach?stream=1 HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
  EXPECT_THAT(client.ReadUntil("\r\n\r\n"), HasSubstr("application/vnd.docker.raw-stream"));
}

TEST_F(ServerTest, AttachToNothingIsAnOrdinaryError) {
  Start();
  EXPECT_THAT(Post("/containers/c9/attach?stream=1", ""), StartsWith("HTTP/1.1 404 "));
}

TEST_F(ServerTest, AVanishedClientEndsTheAttachmentWithoutEndingStdin) {
  engine_.process = [this](int socket) {
    char buffer[64];
    ssize_t count = ::recv(socket, buffer, sizeof buffer, MSG_WAITALL);  // until the end of the stream
    pollfd polled = {socket, 0, 0};
    ::poll(&polled, 1, 10000);
    engine_.process_saw_half_close = count != 4 || !(polled.revents & POLLHUP);
  };
  Start();
  RawClient client = Connect();
  client.Send(kAttach);
  client.ReadUntil("\r\n\r\n");
  client.Send("last");
  client.Close();
  EXPECT_TRUE(engine_.process_ended.WaitBriefly());
  EXPECT_FALSE(engine_.process_saw_half_close);
}

TEST_F(ServerTest, StdinThatNobodyReadsDoesNotResetTheClient) {
  engine_.process = [](int socket) {
    std::string out = Frame(1, "done");
    ::send(socket, out.data(), out.size(), MSG_NOSIGNAL);
  };
  Start();
  RawClient client = Connect();
  client.Send(kAttach);
  client.Send(std::string(50000, 'y'));
  EXPECT_THAT(client.ReadAll(), EndsWith(Frame(1, "done")));
  EXPECT_FALSE(client.reset);
}

TEST_F(ServerTest, MuchOutputToASlowReaderArrivesWhole) {
  constexpr int kFrames = 2000;
  engine_.process = [](int socket) {
    std::string frame = Frame(1, std::string(10000, 'o'));
    for (int i = 0; i < kFrames; ++i) SendExactly(socket, frame, kNoDeadline, {}).IgnoreError();
  };
  Start();
  RawClient client = Connect();
  client.Send(kAttach);
  client.ReadUntil("\r\n\r\n");
  EXPECT_EQ(client.ReadAll().size(), kFrames * 10008u);
}

TEST_F(ServerTest, AttachWithLogsBeginsWithThem) {
  Start();
  RawClient client = Connect();
  client.Send(
      "POST /containers/c1/attach?logs=1&stdout=1&stderr=1 HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: "
      "tcp\r\n\r\n");
  client.ReadUntil("\r\n\r\n");
  EXPECT_EQ(client.ReadAll(), Frame(1, "out\n") + Frame(2, "err\n"));
}

TEST_F(ServerTest, AServerThatStopsEndsAttachments) {
  Start();
  RawClient client = Connect();
  client.Send(kAttach);
  client.ReadUntil("\r\n\r\n");
  StopServer();
  client.ReadAll();
  EXPECT_FALSE(client.reset);
}

TEST_F(ServerTest, ExecRunsDetachedAttachedOrSaysWhyNot) {
  Start();
  EXPECT_THAT(Post("/containers/c1/exec", R"({"Cmd":[]})"), HasSubstr("No exec command specified"));
  EXPECT_THAT(Post("/containers/c1/exec", R"({"Cmd":["sh"],"ConsoleSize":[1]})"),
              StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(Post("/containers/c1/exec", R"({"Cmd":["sh"],"AttachStdin":true,"ConsoleSize":[24,80]})"),
              AllOf(StartsWith("HTTP/1.1 201 "), HasSubstr("{\"Id\":\"e1\"}")));
  EXPECT_EQ(engine_.exec.get().console_size.width, 80u);
  EXPECT_THAT(Post("/exec/e1/start", R"({"Detach":true})"), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(Post("/exec/e9/start", "{}"),
              AllOf(StartsWith("HTTP/1.1 404 "), HasSubstr("No such exec instance: e9")));
  EXPECT_THAT(Get("/exec/e1/json"), HasSubstr("\"ExitCode\":7"));

  RawClient client = Connect();
  client.Send(
      "POST /exec/e1/start HTTP/1.1\r\nContent-Type: application/json\r\nConnection: Upgrade\r\nUpgrade: "
      "tcp\r\n"
      "Content-Length: 2\r\n\r\n{}hello");
  EXPECT_THAT(client.ReadUntil("\r\n\r\n"), StartsWith("HTTP/1.1 101 UPGRADED"));
  client.HalfClose();
  EXPECT_EQ(client.ReadAll(), Frame(1, "hello") + Frame(2, "bye\n"));

  Post("/containers/c1/exec", R"({"Cmd":["nosuch"]})");
  RawClient failing = Connect();
  failing.Send("POST /exec/e1/start HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
  failing.ReadUntil("\r\n\r\n");
  EXPECT_EQ(failing.ReadAll(), Frame(2, "executable file not found in $PATH\n"));
}

}  // namespace
}  // namespace stasis::api
