// Attach, terminals, FIFOs: where bytes go, with a real container.
#include <fcntl.h>
#include <sys/stat.h>

#include <utility>

#include "shim/attach_client.h"
#include "shim/shim_test_support.h"

namespace stasis {
namespace {

using protocol::kInit;

// The payload of Docker's frames.
std::string Payload(std::string_view frames) {
  std::string out;
  while (frames.size() >= 8) {
    size_t size = 0;
    for (size_t i = 4; i < 8; ++i) size = size << 8 | static_cast<unsigned char>(frames[i]);
    out += frames.substr(8, size);
    frames.remove_prefix(std::min(frames.size(), 8 + size));
  }
  return out;
}

TEST_F(ShimTest, InputComesFromAnAttachedClientAndItsEndEndsIt) {
  config_.stdio.open_stdin = config_.stdio.stdin_once = true;
  StartShim({"/bin/cat"});
  ASSERT_TRUE(Call("create").ok());
  auto client = Attach();
  auto answer = AttachAnswer(*client);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ((*answer)["terminal"], false);
  ASSERT_TRUE(Call("start").ok());
  client->Send("one\ntwo\n");
  client->CloseInput();
  EXPECT_EQ(Payload(client->Read()), "one\ntwo\n");
  EXPECT_EQ(WaitForExit(), 0);
  EXPECT_EQ(LogText(), "one\ntwo\n");
}

TEST_F(ShimTest, WithoutStdinOnceInputStaysOpenForTheNextClient) {
  config_.stdio.open_stdin = true;
  RunContainer({"/bin/cat"});
  for (const char* text : {"one\n", "two\n"}) {
    auto client = Attach();
    ASSERT_TRUE(AttachAnswer(*client).ok());
    client->Send(text);
    EXPECT_EQ(Payload(client->Read(text)), text);
  }
  EXPECT_TRUE(Call("close_stdin", {{"process", kInit}}).ok());
  EXPECT_EQ(WaitForExit(), 0);
}

TEST_F(ShimTest, MuchInputArrivesWholeHoweverSlowlyItIsRead) {
  config_.stdio.open_stdin = config_.stdio.stdin_once = true;
  RunContainer({"/bin/sh", "-c", "sleep 0.3; cat | tail -c 20"});
  auto client = Attach();
  ASSERT_TRUE(AttachAnswer(*client).ok());
  client->Send(std::string(1 << 20, 'x') + "the end of the input");
  client->Close();  // what was sent must arrive even so
  EXPECT_EQ(WaitForExit(), 0);
  EXPECT_EQ(LogText(), "the end of the input");
}

TEST_F(ShimTest, ASlowClientHoldsUpTheProcessAndLosesNothing) {
  std::optional<Attached> slow;
  ASSERT_NO_FATAL_FAILURE(StartFlood(5000000, {&slow}));
  size_t before = 0;
  ASSERT_TRUE(Eventually([&] {  // the log stands still
    ::poll(nullptr, 0, 100);
    const size_t now = LogText().size();
    return now > AttachClient::kMaxPending && now == std::exchange(before, now);
  }));
  EXPECT_LT(before, 5000000u);
  EXPECT_TRUE(Call("hello").ok());  // only the output waits
  EXPECT_EQ(Payload(slow->Read()).size(), 5000000u);
  EXPECT_EQ(WaitForExit(), 0);
  EXPECT_EQ(LogText().size(), 5000000u);
}

TEST_F(ShimTest, AStuckClientThatGoesHoldsUpNobodyAnyMore) {
  std::optional<Attached> stuck;
  std::optional<Attached> reader;
  ASSERT_NO_FATAL_FAILURE(StartFlood(5000000, {&stuck, &reader}));
  ASSERT_TRUE(Eventually([&] { return LogText().size() > AttachClient::kMaxPending; }));
  stuck.reset();
  EXPECT_EQ(Payload(reader->Read()).size(), 5000000u);
  EXPECT_EQ(WaitForExit(), 0);
  EXPECT_EQ(LogText().size(), 5000000u);
}

TEST_F(ShimTest, AStuckClientDelaysNoExit) {
  std::optional<Attached> stuck;
  ASSERT_NO_FATAL_FAILURE(StartFlood(5000000, {&stuck}));
  ASSERT_TRUE(Eventually([&] { return LogText().size() > AttachClient::kMaxPending; }));
  const absl::Time killed = absl::Now();
  ASSERT_TRUE(Call("kill", {{"process", kInit}, {"signal", SIGKILL}}).ok());
  EXPECT_EQ(WaitForExit(), 137);
  EXPECT_LT(absl::Now() - killed, absl::Seconds(8));  // the wait for strangers who hold a pipe is 10 s
}

TEST_F(ShimTest, ATerminalIsRawHasASizeAndFollowsAResize) {
  config_.stdio.terminal = config_.stdio.open_stdin = true;
  config_.stdio.width = 90;
  config_.stdio.height = 30;
  RunContainer({"/bin/sh", "-c", "stty size; read line; stty size; read line"});
  auto client = Attach();
  auto answer = AttachAnswer(*client);
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ((*answer)["terminal"], true);
  ASSERT_TRUE(Eventually([&] { return LogText().find("30 90\r\n") != std::string::npos; }));
  EXPECT_TRUE(Call("resize", {{"process", kInit}, {"width", 100}, {"height", 40}}).ok());
  client->Send("go\n");
  EXPECT_NE(client->Read("40 100\r\n").find("40 100\r\n"), std::string::npos);
  client->Send("go\n");
  client->Read();
  EXPECT_EQ(WaitForExit(), 0);
}

TEST_F(ShimTest, FifosAreServedAsContainerd02Did) {
  for (const char* name : {"in", "out", "err"}) {
    ASSERT_EQ(::mkfifo((directory_->path() + "/" + name).c_str(), 0600), 0);
  }
  config_.stdio.stdin_fifo = directory_->path() + "/in";
  config_.stdio.stdout_fifo = directory_->path() + "/out";
  config_.stdio.stderr_fifo = directory_->path() + "/err";
  RunContainer({"/bin/sh", "-c", "cat; echo bad >&2"});
  auto in = OpenFile(config_.stdio.stdin_fifo, O_WRONLY);
  auto out = OpenFile(config_.stdio.stdout_fifo, O_RDONLY | O_NONBLOCK);
  auto err = OpenFile(config_.stdio.stderr_fifo, O_RDONLY | O_NONBLOCK);
  ASSERT_TRUE(in.ok() && out.ok() && err.ok());
  ASSERT_TRUE(WriteAll(in->get(), "hello\n").ok());
  in->reset();
  EXPECT_EQ(WaitForExit(), 0);
  EXPECT_EQ(*ReadAll(out->get()), "hello\n");
  EXPECT_EQ(*ReadAll(err->get()), "bad\n");
  EXPECT_EQ(LogText(), "hello\n");
}

TEST_F(ShimTest, TheLastOutputReachesASlowClientThoughTheContainerIsDeleted) {
  std::optional<Attached> client;
  ASSERT_NO_FATAL_FAILURE(StartFlood(900000, {&client}));
  EXPECT_EQ(WaitForExit(), 0);
  ASSERT_TRUE(Call("delete").ok());
  EXPECT_EQ(Payload(client->Read()).size(), 900000u);
  EXPECT_TRUE(shim_->process().WaitEnded(After(kTestLimit), {}).ok());
}

TEST_F(ShimTest, AttachingToWhatHasEndedIsRefused) {
  RunContainer({"/bin/true"});
  EXPECT_EQ(WaitForExit(), 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(AttachAnswer(*Attach()).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(AttachAnswer(*Attach("exec1")).status()));
}

TEST_F(ShimTest, AGrandchildThatHoldsThePipeDoesNotHoldUpTheExit) {
  // Execs leave pipes behind more easily than an init, whose namespace dies with it.
  RunContainer({"/bin/sleep", "1000"});
  protocol::ExecRequest request{
      .process = "exec1", .spec = ProcessOf({"/bin/sh", "-c", "sleep 1000 & echo done"}), .stdio = {}};
  auto pid = Call("exec", protocol::ToJson(request));
  ASSERT_TRUE(pid.ok()) << pid.status();
  EXPECT_EQ(WaitForExit("exec1"), 0);
}

}  // namespace
}  // namespace stasis
