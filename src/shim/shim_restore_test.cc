// The way back: a container that was checkpointed is restored by a new shim.
#include <signal.h>

#include <map>

#include "shim/shim_test_support.h"

namespace stasis {
namespace {

class RestoreTest : public ShimTest {
 protected:
  void SetUp() override {
    ShimTest::SetUp();
    if (IsSkipped()) return;
    if (::access(kCriu, X_OK) != 0) GTEST_SKIP() << "needs " << kCriu;
    config_.checkpointer = BesideTest("stasis-checkpointer");
  }

  std::string checkpoint() const { return directory_->path() + "/cp1"; }

  // Checkpoints it, which ends it, and forgets its shim.
  void CheckpointAndForget() {
    protocol::CheckpointRequest request;
    request.name = "cp1";
    request.directory = directory_->path();
    request.store = directory_->path() + "/store";
    request.exit = true;
    auto made = Call("checkpoint", protocol::ToJson(request));
    ASSERT_TRUE(made.ok()) << made.status();
    EXPECT_EQ(WaitForExit(), 137);
    EndShim();
  }
  protocol::RestoreSource Source(bool paused = false) const {
    return {.directory = checkpoint(), .store = directory_->path() + "/store", .paused = paused};
  }
  void EndShim() {
    ASSERT_TRUE(Call("delete", {{"force", true}}).ok());
    ASSERT_TRUE(shim_->Wait(After(kTestLimit), {}).ok());
    shim_.reset();
    ASSERT_TRUE(RemoveTree(shim_directory()).ok());
  }
  // How often a line with this number is in the log.
  int CountInLog(int number) {
    std::string text = "\n" + LogText();
    std::string line = "\n" + std::to_string(number) + "\n";
    int count = 0;
    for (size_t at = text.find(line); at != text.npos; at = text.find(line, at + 1)) ++count;
    return count;
  }
  // The last number that a counting container has written.
  int LastNumber() {
    std::string text = LogText();
    size_t end = text.rfind('\n');
    size_t begin = end == text.npos || end == 0 ? text.npos : text.rfind('\n', end - 1);
    return end == text.npos ? 0 : std::atoi(text.c_str() + (begin == text.npos ? 0 : begin + 1));
  }
  const std::vector<std::string> kCount = {"/bin/sh", "-c",
                                           "i=0; while :; do i=$((i+1)); echo $i; usleep 20000; done"};
};

TEST_F(RestoreTest, ItGoesOnWhereItStoodAndSoDoesTheLog) {
  RunContainer(kCount);
  ASSERT_TRUE(Eventually([&] { return LastNumber() > 3; }));
  CheckpointAndForget();
  const int before = LastNumber();
  config_.restore = Source();
  for (int times = 1; times <= 2; ++times) {
    StartShim(kCount);
    auto created = Call("create");
    ASSERT_TRUE(created.ok()) << created.status();
    EXPECT_EQ((*created)["pid"], 0);
    auto started = Call("start");
    ASSERT_TRUE(started.ok()) << started.status();
    EXPECT_EQ((*started)["pid"], State().pid);
    EXPECT_TRUE(
        Eventually([&] { return CountInLog(before + 1) == times && CountInLog(before + 3) == times; }));
    EXPECT_EQ(CountInLog(before), 1);
    protocol::ExecRequest request{.process = "exec1", .spec = ProcessOf({"/bin/true"}), .stdio = {}};
    EXPECT_TRUE(Call("exec", protocol::ToJson(request)).ok());
    EXPECT_EQ(WaitForExit("exec1"), 0);
    EXPECT_EQ(WaitForEvent("start-container").sequence, 1u);
    EndShim();
  }
}

TEST_F(RestoreTest, ATerminalComesBackAsANewOne) {
  config_.stdio.terminal = config_.stdio.open_stdin = true;
  const std::vector<std::string> talk = {"/bin/sh", "-c", "while read line; do echo got $line; done"};
  RunContainer(talk);
  {
    auto client = Attach();
    ASSERT_TRUE(AttachAnswer(*client).ok());
    client->Send("one\n");
    EXPECT_NE(client->Read("got one\r\n").find("got one\r\n"), std::string::npos);
  }
  CheckpointAndForget();
  config_.restore = Source();
  StartShim(talk);
  CreateAndStart();
  auto client = Attach();
  ASSERT_TRUE(AttachAnswer(*client).ok());
  client->Send("two\n");
  EXPECT_NE(client->Read("got two\r\n").find("got two\r\n"), std::string::npos);
  EXPECT_TRUE(Call("resize", {{"width", 77}, {"height", 22}}).ok());
}

TEST_F(RestoreTest, ItIsToldHowMuchIsThereAlready) {
  const std::vector<std::string> holder = {
      "/bin/sh", "-c",
      "x=$(head -c 40000000 /dev/zero | tr '\\0' x); echo ready; while :; do usleep 20000; done"};
  RunContainer(holder);
  ASSERT_TRUE(Eventually([&] { return LogText() == "ready\n"; }));
  CheckpointAndForget();
  config_.restore = Source();
  StartShim(holder);
  ASSERT_TRUE(Call("create").ok());
  // By phase: memory that is shared with a fork goes through CRIU's files, and is unpacked.
  std::map<std::string, uint64_t> told;
  auto caller = Connect();
  ASSERT_TRUE(caller.ok());
  const auto started =
      caller->Call("start", Json::object(), kTestLimit, {}, [&](const std::string& notice, const Json& what) {
        EXPECT_EQ(notice, "progress");
        const uint64_t bytes = what.value("bytes", uint64_t{0});
        uint64_t& before = told[what.value("phase", "")];
        EXPECT_GE(bytes, before);
        before = bytes;
      });
  ASSERT_TRUE(started.ok()) << started.status();
  EXPECT_GE(told["unpack"] + told["memory"], 24u << 20);
}

TEST_F(RestoreTest, OneThatWasPausedComesBackPaused) {
  RunContainer(kCount);
  ASSERT_TRUE(Eventually([&] { return LastNumber() > 3; }));
  CheckpointAndForget();
  int before = LastNumber();
  config_.restore = Source(/*paused=*/true);
  StartShim(kCount);
  CreateAndStart();
  EXPECT_EQ(State().status, "paused");
  ASSERT_TRUE(Call("resume").ok());
  EXPECT_TRUE(Eventually([&] { return LastNumber() > before + 3; }));
}

TEST_F(RestoreTest, AFailureCarriesCriusReasonAndLeavesNothing) {
  ASSERT_TRUE(WriteFileAtomically(config_.bundle + "/rootfs/file", "content").ok());
  const std::vector<std::string> holder = {"/bin/sh", "-c",
                                           "exec 3</file; echo ready; while :; do usleep 20000; done"};
  RunContainer(holder);
  ASSERT_TRUE(Eventually([&] { return LogText() == "ready\n"; }));
  CheckpointAndForget();
  ASSERT_TRUE(WriteFileAtomically(config_.bundle + "/rootfs/file", "other").ok());
  config_.restore = Source();
  StartShim(holder);
  ASSERT_TRUE(Call("create").ok());
  auto started = Call("start");
  ASSERT_FALSE(started.ok());
  EXPECT_NE(Message(started.status()).find("/file was changed since the checkpoint"), std::string::npos)
      << started.status();
  EXPECT_EQ(State().status, "stopped");
  EXPECT_FALSE(Exists("/sys/fs/cgroup/freezer" + config_.cgroup_path));
  EXPECT_FALSE(Exists(config_.runtime_root + "/" + config_.id));
  EXPECT_TRUE(Call("delete").ok());
  EXPECT_TRUE(shim_->process().WaitEnded(After(kTestLimit), {}).ok());
}

TEST_F(RestoreTest, WithoutACheckpointCreateSaysSo) {
  config_.restore = Source();
  StartShim({"/bin/true"});
  EXPECT_TRUE(absl::IsNotFound(Call("create").status()));
}

TEST_F(RestoreTest, NothingIsRestoredWithoutTheLibraryThatKeepsCriuInside) {
  config_.checkpointer = directory_->path() + "/stasis-checkpointer";
  ASSERT_TRUE(MakeDirectories(checkpoint()).ok());
  config_.restore = Source();
  StartShim({"/bin/true"});
  ASSERT_TRUE(Call("create").ok());
  EXPECT_EQ(Message(Call("start").status()),
            directory_->path() + "/stasis-criu-preload.so: missing; no restore is safe without it");
}

}  // namespace
}  // namespace stasis
