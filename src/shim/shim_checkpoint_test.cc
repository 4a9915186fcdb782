// Checkpoints as the shim sees them: with the real checkpointer, and with ones that fail in their ways.
#include <signal.h>

#include <thread>

#include "shim/shim_test_support.h"

namespace stasis {
namespace {

using protocol::kInit;

class CheckpointTest : public ShimTest {
 protected:
  void SetUp() override {
    ShimTest::SetUp();
    if (IsSkipped()) return;
    request_.name = "cp1";
    request_.directory = directory_->path() + "/checkpoints";
    request_.store = directory_->path() + "/store";
    ASSERT_TRUE(MakeDirectories(request_.directory).ok());
  }
  // A checkpointer of a few lines of shell. $DIR is the shim's directory, $FREEZER the container's.
  void UseScript(const std::string& script) {
    config_.checkpointer = directory_->path() + "/checkpointer";
    ASSERT_TRUE(WriteFileAtomically(config_.checkpointer,
                                    "#!/bin/sh\nDIR=" + shim_directory() + "\nFREEZER=" +
                                        Cgroup::Open(config_.cgroup_path)->FreezerDirectory() + "\n" + script,
                                    0700)
                    .ok());
  }
  bool UseRealOne() {
    config_.checkpointer = BesideTest("stasis-checkpointer");
    return ::access(config_.checkpointer.c_str(), X_OK) == 0 && ::access(kCriu, X_OK) == 0;
  }
  StatusOr<Json> Checkpoint() { return Call("checkpoint", protocol::ToJson(request_)); }
  bool Frozen() { return Cgroup::Open(config_.cgroup_path)->Frozen().value_or(true); }

  const std::vector<std::string> kCount = {"/bin/sh", "-c",
                                           "i=0; while :; do i=$((i+1)); echo $i; usleep 20000; done"};
  protocol::CheckpointRequest request_;
};

TEST_F(CheckpointTest, ADeadCheckpointersJournalIsUndone) {
  UseScript(R"(
sleep 1000 & criu=$!
mkdir -p $DIR/../aside/images
echo FROZEN > $FREEZER/freezer.state 2>/dev/null || echo 1 > $FREEZER/cgroup.freeze
printf '{"thaw":true,"criu":{"pid":%s,"start_time":%s},"staging":"%s"}' \
  $criu $(cut -d' ' -f22 /proc/$criu/stat) $(readlink -f $DIR/../aside) > $DIR/journal.json
echo $criu > $DIR/../criu.pid
kill -9 $$
)");
  RunContainer(kCount);
  auto result = Checkpoint();
  EXPECT_EQ(Message(result.status()), "the checkpointer died (signal 9)");
  EXPECT_FALSE(Frozen());
  EXPECT_FALSE(Exists(directory_->path() + "/aside"));
  EXPECT_FALSE(Exists(shim_directory() + "/" + protocol::kJournalFile));
  pid_t criu = std::atoi(ReadFile(directory_->path() + "/criu.pid")->c_str());
  EXPECT_TRUE(Eventually([&] { return ::kill(criu, 0) != 0; }));
  std::string before = LogText();
  EXPECT_TRUE(Eventually([&] { return LogText() != before; })) << "it does not run on";
  EXPECT_FALSE(State().checkpointing);
}

TEST_F(CheckpointTest, WhatWasPublishedBeforeTheCheckpointerDiedIsASuccess) {
  UseScript(R"(
mkdir -p $DIR/../checkpoints/cp1
echo FROZEN > $FREEZER/freezer.state 2>/dev/null || echo 1 > $FREEZER/cgroup.freeze
published=$(readlink -f $DIR/../checkpoints/cp1)
printf '{"thaw":true,"staging":"%s.partial","published":"%s","staging_inode":%s}' \
  $published $published $(stat -c %i $published) > $DIR/journal.json
kill -9 $$
)");
  RunContainer(kCount);
  for (bool exit : {false, true}) {
    request_.exit = exit;
    EXPECT_TRUE(Checkpoint().ok()) << exit;
    EXPECT_TRUE(Exists(directory_->path() + "/checkpoints/cp1"));
    if (!exit) {
      EXPECT_FALSE(Frozen());
      std::string before = LogText();
      EXPECT_TRUE(Eventually([&] { return LogText() != before; })) << "it does not run on";
    }
  }
  EXPECT_EQ(WaitForExit(), 137);
  // Who sweeps the group at init's end closes and opens the freezer, too; then the group is gone or thawed.
  EXPECT_TRUE(Eventually([&] { return !Cgroup::Open(config_.cgroup_path)->Frozen().value_or(false); }));
}

TEST_F(CheckpointTest, APausedOneThatIsNotFrozenAgainIsSaidToRun) {
  UseScript("echo THAWED > $FREEZER/freezer.state 2>/dev/null || echo 0 > $FREEZER/cgroup.freeze; exit 5");
  RunContainer(kCount);
  ASSERT_TRUE(Call("pause", Json::object()).ok());
  EXPECT_EQ(Message(Checkpoint().status()), "the checkpointer died (exit status 5)");
  EXPECT_EQ(State().status, "running");
  EXPECT_TRUE(Call("pause", Json::object()).ok());
  EXPECT_TRUE(Frozen());
}

TEST_F(CheckpointTest, ALimitThatCannotBeSetYetIsSetLater) {
  UseScript(R"(
[ -e $DIR/../second ] || printf '{"limits":[{"file":"%s/limit","value":77}]}' $(readlink -f $DIR/..) > $DIR/journal.json
[ ! -e $DIR/../second ] || rm $DIR/journal.json
exit 5
)");
  RunContainer({"/bin/sleep", "1000"});
  const std::string limit = directory_->path() + "/limit";
  const std::string journal = shim_directory() + "/" + protocol::kJournalFile;
  ASSERT_TRUE(MakeDirectories(limit).ok());  // where no number can be written
  EXPECT_EQ(Message(Checkpoint().status()), "the checkpointer died (exit status 5)");
  EXPECT_TRUE(Exists(journal));
  ASSERT_TRUE(WriteFileAtomically(directory_->path() + "/second", "").ok());
  EXPECT_EQ(Message(Checkpoint().status()), "the checkpointer died (exit status 5)");
  EXPECT_TRUE(Exists(journal)) << "another checkpoint does not lose it";
  ASSERT_TRUE(RemoveTree(limit).ok());
  ASSERT_TRUE(WriteFileAtomically(limit, "").ok());
  EXPECT_TRUE(Eventually([&] { return !Exists(journal); }));
  EXPECT_EQ(ReadFile(limit).value_or(""), "77");
}

// It passes at the third attempt, or not.
TEST_F(CheckpointTest, WhatPassesByItselfIsTriedAgain) {
  UseScript(R"(
echo >> $DIR/../attempts
[ ! -e $DIR/../passes ] || [ $(wc -l < $DIR/../attempts) -lt 3 ] || exit 5
cat $DIR/../answer >&3
exec cat <&3 >/dev/null
)");
  const Json answer = {{"id", 1}, {"error", protocol::ErrorToJson(Unavailable("it is busy"))}};
  ASSERT_TRUE(WriteFileAtomically(directory_->path() + "/answer", protocol::EncodeFrame(answer)).ok());
  RunContainer({"/bin/sleep", "1000"});
  const Status status = Checkpoint().status();
  EXPECT_TRUE(absl::IsInternal(status));
  EXPECT_EQ(Message(status), "it is busy");
  EXPECT_EQ(ReadFile(directory_->path() + "/attempts").value_or(""), "\n\n\n\n");
  ASSERT_TRUE(WriteFileAtomically(directory_->path() + "/attempts", "").ok());
  ASSERT_TRUE(WriteFileAtomically(directory_->path() + "/passes", "").ok());
  EXPECT_EQ(Message(Checkpoint().status()), "the checkpointer died (exit status 5)");
  EXPECT_EQ(ReadFile(directory_->path() + "/attempts").value_or(""), "\n\n\n");
}

TEST_F(CheckpointTest, AStrangerWithCriusNumberIsLeftAlone) {
  UseScript(R"(
printf '{"criu":{"pid":%s,"start_time":1}}' $(cat $DIR/../stranger) > $DIR/journal.json
exit 5
)");
  auto stranger = Spawn({.argv = {"/bin/busybox", "sleep", "1000"}, .env = {}});
  ASSERT_TRUE(stranger.ok());
  ASSERT_TRUE(
      WriteFileAtomically(directory_->path() + "/stranger", std::to_string(stranger->process().pid())).ok());
  RunContainer({"/bin/sleep", "1000"});
  EXPECT_EQ(Message(Checkpoint().status()), "the checkpointer died (exit status 5)");
  EXPECT_FALSE(stranger->process().Ended());
}

TEST_F(CheckpointTest, OneAtATimeAndAHangUpCancels) {
  UseScript("exec cat <&3 >/dev/null");  // never answers, ends with its connection
  RunContainer({"/bin/sleep", "1000"});
  auto caller = Connect();
  ASSERT_TRUE(caller.ok());
  ASSERT_TRUE(protocol::WriteFrame(
                  caller->fd(), {{"id", 1}, {"method", "checkpoint"}, {"params", protocol::ToJson(request_)}})
                  .ok());
  ASSERT_TRUE(Eventually([&] { return State().checkpointing; }));
  auto second = Checkpoint();
  EXPECT_TRUE(absl::IsFailedPrecondition(second.status()));
  EXPECT_EQ(Message(second.status()), "a checkpoint of this container is already under way");
  protocol::ExecRequest exec{.process = "exec1", .spec = ProcessOf({"/bin/true"}), .stdio = {}};
  EXPECT_TRUE(Call("exec", protocol::ToJson(exec)).ok()) << "only the freeze keeps others waiting";
  EXPECT_EQ(WaitForExit("exec1"), 0);
  *caller = protocol::Caller(UniqueFd());
  EXPECT_TRUE(Eventually([&] { return !State().checkpointing; }));
  EXPECT_EQ(State().status, "running");
}

TEST_F(CheckpointTest, AKillCancelsIt) {
  UseScript("exec cat <&3 >/dev/null");
  RunContainer({"/bin/sleep", "1000"});
  Status status;
  std::jthread other([&] { status = Checkpoint().status(); });
  ASSERT_TRUE(Eventually([&] { return State().checkpointing; }));
  EXPECT_TRUE(Call("kill", {{"process", kInit}, {"signal", SIGKILL}}).ok());
  EXPECT_EQ(WaitForExit(), 137);
  other.join();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
}

TEST_F(CheckpointTest, WhatDoesNotRunCannotBeCheckpointed) {
  UseScript("exit 1");
  StartShim({"/bin/true"});
  EXPECT_TRUE(absl::IsFailedPrecondition(Checkpoint().status()));
  CreateAndStart();
  EXPECT_EQ(WaitForExit(), 0);
  EXPECT_TRUE(absl::IsFailedPrecondition(Checkpoint().status()));
}

TEST_F(CheckpointTest, ARealOneThereAndBack) {
  if (!UseRealOne()) GTEST_SKIP() << "needs stasis-checkpointer and CRIU";
  RunContainer(kCount);
  ASSERT_TRUE(Eventually([&] { return LogText().size() > 10; }));
  auto result = Checkpoint();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_GT((*result)["bytes"], 0);
  EXPECT_GT((*result)["frozen_us"], 0);
  std::string before = LogText();
  EXPECT_TRUE(Eventually([&] { return LogText() != before; })) << "it does not run on";
  EXPECT_EQ(State().status, "running");

  request_.name = "cp2";
  request_.exit = true;
  result = Checkpoint();
  ASSERT_TRUE(result.ok()) << result.status();
  protocol::ShimEvent event = WaitForEvent("exit");
  ASSERT_TRUE(event.exit);
  EXPECT_EQ(event.exit->status, 137);
  EXPECT_EQ(event.exit->reason, "checkpoint");
  ASSERT_TRUE(Call("delete").ok());
  ASSERT_TRUE(shim_->Wait(After(kTestLimit), {}).ok());
  ASSERT_TRUE(RemoveTree(shim_directory()).ok());

  before = LogText();
  size_t line = before.rfind('\n', before.size() - 2) + 1;
  int last = std::atoi(before.c_str() + line);
  config_.restore = protocol::RestoreSource{
      .directory = request_.directory + "/cp2", .store = request_.store, .paused = false};
  StartShim(kCount);
  CreateAndStart();
  std::string next = before + std::to_string(last + 1) + "\n";
  EXPECT_TRUE(Eventually([&] { return LogText().starts_with(next); })) << LogText();
}

TEST_F(CheckpointTest, APausedOneStaysPaused) {
  if (!UseRealOne()) GTEST_SKIP() << "needs stasis-checkpointer and CRIU";
  RunContainer(kCount);
  ASSERT_TRUE(Eventually([&] { return !LogText().empty(); })) << "still runc, with files of the host's";
  ASSERT_TRUE(Call("pause").ok());
  auto result = Checkpoint();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(State().status, "paused");
  EXPECT_TRUE(Frozen());
  EXPECT_TRUE(Call("resume").ok());
}

}  // namespace
}  // namespace stasis
