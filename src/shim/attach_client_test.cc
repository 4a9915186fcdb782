#include "shim/attach_client.h"

#include <sys/socket.h>

#include "gtest/gtest.h"
#include "linux/unix_socket.h"

namespace stasis {
namespace {

protocol::AttachRequest Everything() {
  return {.process = "init", .use_stdin = true, .use_stdout = true, .use_stderr = true};
}

std::string ReceiveNow(int fd) {
  char buffer[4096];
  ssize_t got = ::recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
  return got > 0 ? std::string(buffer, static_cast<size_t>(got)) : "";
}

TEST(OutputFrameTest, TheHeaderIsDockers) {
  EXPECT_EQ(OutputFrameHeader(Stream::kStdout, 5), std::string("\1\0\0\0\0\0\0\5", 8));
  EXPECT_EQ(OutputFrameHeader(Stream::kStderr, 0x01020304), std::string("\2\0\0\0\1\2\3\4", 8));
}

TEST(AttachClientTest, OutputIsFramedUnlessThereIsATerminal) {
  for (bool terminal : {false, true}) {
    auto pair = MakeSocketPair();
    ASSERT_TRUE(pair.ok());
    AttachClient client(std::move(pair->first), Everything());
    client.Answer(terminal);
    EXPECT_NE(ReceiveNow(pair->second.get()).find(terminal ? "true" : "false"), std::string::npos);
    client.Output(Stream::kStderr, "hi");
    EXPECT_EQ(ReceiveNow(pair->second.get()), terminal ? "hi" : std::string("\2\0\0\0\0\0\0\2hi", 10));
  }
}

TEST(AttachClientTest, AStreamThatWasNotAskedForIsNotSent) {
  auto pair = MakeSocketPair();
  ASSERT_TRUE(pair.ok());
  AttachClient client(std::move(pair->first), {.process = "init", .use_stdout = true});
  client.Output(Stream::kStderr, "hi");
  EXPECT_TRUE(client.idle());
  EXPECT_EQ(ReceiveNow(pair->second.get()), "");
}

TEST(AttachClientTest, WhatIsNotReadWaits) {
  auto pair = MakeSocketPair();
  ASSERT_TRUE(pair.ok());
  AttachClient client(std::move(pair->first), Everything());
  const std::string chunk(64 << 10, 'x');
  for (int i = 0; i < 32; ++i) client.Output(Stream::kStdout, chunk);
  EXPECT_GT(client.pending(), AttachClient::kMaxPending);
  size_t total = 0;
  for (std::string got = ReceiveNow(pair->second.get()); !got.empty(); got = ReceiveNow(pair->second.get())) {
    total += got.size();
    EXPECT_TRUE(client.Flush());
  }
  EXPECT_TRUE(client.idle());
  EXPECT_EQ(total, 32 * (chunk.size() + 8));
}

TEST(AttachClientTest, AClientThatIsGoneIsSeen) {
  auto pair = MakeSocketPair();
  ASSERT_TRUE(pair.ok());
  AttachClient client(std::move(pair->first), Everything());
  pair->second.reset();
  client.Output(Stream::kStdout, "x");
  EXPECT_FALSE(client.Flush());
}

}  // namespace
}  // namespace stasis
