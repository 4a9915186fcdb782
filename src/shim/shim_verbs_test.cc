// exec, kill, pause, events and the order of things, with a real container.
#include <signal.h>

#include <thread>

#include "shim/shim_test_support.h"

namespace stasis {
namespace {

using protocol::kInit;

class VerbsTest : public ShimTest {
 protected:
  StatusOr<Json> Exec(const std::string& id, const std::vector<std::string>& args, bool terminal = false,
                      bool wait_for_attach = false) {
    protocol::ExecRequest request{.process = id, .spec = ProcessOf(args), .stdio = {}};
    request.stdio.terminal = terminal;
    request.stdio.open_stdin = true;
    request.stdio.stdin_once = true;
    request.wait_for_attach = wait_for_attach;
    return Call("exec", protocol::ToJson(request));
  }
  // All events so far, as "TYPE PROCESS".
  std::vector<std::string> Events(uint64_t after = 0) {
    std::vector<std::string> all;
    auto caller = Connect();
    EXPECT_TRUE(caller.ok() && caller->Call("subscribe", {{"after", after}}, kTestLimit, {}).ok());
    for (;;) {
      auto frame = protocol::ReadFrame(caller->fd(), After(std::chrono::milliseconds(200)), {});
      if (!frame.ok()) return all;
      all.push_back((*frame)["params"]["type"].get<std::string>() + " " +
                    (*frame)["params"]["process"].get<std::string>());
    }
  }
};

TEST_F(VerbsTest, AnExecHasItsOwnStreamsAndExit) {
  RunContainer({"/bin/sleep", "1000"});
  auto client = Attach("exec1");  // before there is one
  auto pid = Exec("exec1", {"/bin/sh", "-c", "cat; exit 3"}, false, true);
  ASSERT_TRUE(pid.ok()) << pid.status();
  ASSERT_TRUE(AttachAnswer(*client).ok());
  protocol::ShimState state = State();
  ASSERT_EQ(state.execs.size(), 1u);
  EXPECT_EQ(state.execs[0].pid, (*pid)["pid"]);
  EXPECT_EQ(state.execs[0].args[0], "/bin/sh");
  client->Send("to the exec");
  client->CloseInput();
  EXPECT_NE(client->Read().find("to the exec"), std::string::npos);
  EXPECT_EQ(WaitForExit("exec1"), 3);
  EXPECT_EQ(LogText(), "");
  EXPECT_EQ(State().status, "running");
}

TEST_F(VerbsTest, AnExecMayHaveATerminal) {
  RunContainer({"/bin/sleep", "1000"});
  auto client = Attach("exec1");
  ASSERT_TRUE(Exec("exec1", {"/bin/sh", "-c", "test -t 0 && echo yes"}, true, true).ok());
  EXPECT_EQ((*AttachAnswer(*client))["terminal"], true);
  EXPECT_EQ(client->Read(), "yes\r\n");
  EXPECT_EQ(WaitForExit("exec1"), 0);
}

TEST_F(VerbsTest, AnExecThatFailsTellsWhoWaitsForIt) {
  RunContainer({"/bin/sleep", "1000"});
  auto client = Attach("exec1");
  auto pid = Exec("exec1", {"/bin/nope"}, false, true);
  EXPECT_NE(Message(pid.status()).find("/bin/nope"), std::string::npos) << pid.status();
  EXPECT_FALSE(AttachAnswer(*client).ok());
  EXPECT_TRUE(Exec("exec1", {"/bin/true"}).ok()) << "the id is free again";
  EXPECT_EQ(WaitForExit("exec1"), 0);
}

TEST_F(VerbsTest, AnIdIsTakenAsLongAsItsProcessRuns) {
  RunContainer({"/bin/sleep", "1000"});
  ASSERT_TRUE(Exec("exec1", {"/bin/sleep", "1000"}).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(Exec("exec1", {"/bin/true"}).status()));
  EXPECT_TRUE(Call("kill", {{"process", "exec1"}, {"signal", SIGTERM}}).ok());
  EXPECT_EQ(WaitForExit("exec1"), 143);
}

TEST_F(VerbsTest, ManyExecsAtOnceAreAllReaped) {
  RunContainer({"/bin/sleep", "1000"});
  {
    constexpr int kExecs = 6;
    std::vector<std::jthread> threads;
    threads.reserve(kExecs);
    for (int i = 0; i < kExecs; ++i) {
      threads.emplace_back([this, i] {
        auto pid = Exec("exec" + std::to_string(i), {"/bin/sh", "-c", "exit " + std::to_string(i)});
        EXPECT_TRUE(pid.ok()) << pid.status();
      });
    }
  }
  for (int i = 0; i < 6; ++i) EXPECT_EQ(WaitForExit("exec" + std::to_string(i)), i);
  EXPECT_TRUE(State().execs.empty());
}

TEST_F(VerbsTest, ExitsOfExecsComeBeforeInits) {
  RunContainer({"/bin/sleep", "1000"});
  ASSERT_TRUE(Exec("exec1", {"/bin/sleep", "1000"}).ok());
  ASSERT_TRUE(Exec("exec2", {"/bin/sleep", "1000"}).ok());
  ASSERT_TRUE(Call("kill", {{"process", kInit}, {"signal", SIGKILL}}).ok());
  EXPECT_EQ(WaitForExit(), 137);
  std::vector<std::string> events = Events();
  ASSERT_EQ(events.size(), 6u);
  EXPECT_EQ(events[0], "start-container init");
  EXPECT_EQ(events[1], "start-process exec1");
  EXPECT_EQ(events[2], "start-process exec2");
  EXPECT_EQ(events[5], "exit init");
}

TEST_F(VerbsTest, StartComesBeforeTheExitOfTheQuickest) {
  for (int i = 0; i < 3; ++i) {
    RunContainer({"/bin/true"});
    EXPECT_EQ(WaitForExit(), 0);
    EXPECT_EQ(Events(), (std::vector<std::string>{"start-container init", "exit init"}));
    EXPECT_EQ(Events(1), (std::vector<std::string>{"exit init"}));
    ASSERT_TRUE(Call("delete").ok());
    ASSERT_TRUE(shim_->Wait(After(kTestLimit), {}).ok());
    ::unlink(config_.log_path.c_str());
    config_.id = RandomHex(32);
    config_.cgroup_path = "/stasis-test-" + config_.id;
  }
  shim_.reset();
}

TEST_F(VerbsTest, PauseStopsAndResumeGoesOn) {
  RunContainer({"/bin/sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; usleep 10000; done"});
  ASSERT_TRUE(Eventually([&] { return !LogText().empty(); }));
  ASSERT_TRUE(Call("pause").ok());
  EXPECT_EQ(State().status, "paused");
  EXPECT_TRUE(absl::IsFailedPrecondition(Call("pause").status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(Exec("exec1", {"/bin/true"}).status()));
  std::string before = LogText();
  ::poll(nullptr, 0, 100);
  EXPECT_EQ(LogText(), before);
  ASSERT_TRUE(Call("resume").ok());
  EXPECT_TRUE(Eventually([&] { return LogText() != before; }));
  EXPECT_EQ(Events(), (std::vector<std::string>{"start-container init", "pause init", "resume init"}));
}

TEST_F(VerbsTest, KillEndsAPausedContainer) {
  RunContainer({"/bin/sleep", "1000"});
  ASSERT_TRUE(Call("pause").ok());
  ASSERT_TRUE(Call("kill", {{"process", kInit}, {"signal", SIGKILL}}).ok());
  EXPECT_EQ(WaitForExit(), 137);
}

TEST_F(VerbsTest, KillAllEndsEverything) {
  RunContainer({"/bin/sh", "-c", "sleep 1000 & sleep 1000 & wait"});
  ASSERT_TRUE(Exec("exec1", {"/bin/sleep", "1000"}).ok());
  ASSERT_TRUE(Call("kill", {{"all", true}}).ok());
  EXPECT_EQ(WaitForExit("exec1"), 137);
  EXPECT_EQ(WaitForExit(), 137);
}

TEST_F(VerbsTest, AnOomKillIsToldApart) {
  resources_ = {{"memory", {{"limit", 16 << 20}, {"swap", 16 << 20}}}};
  RunContainer({"/bin/sh", "-c", "x=0123456789; while :; do x=$x$x; done"});
  protocol::ShimEvent event = WaitForEvent("exit");
  ASSERT_TRUE(event.exit);
  EXPECT_EQ(event.exit->status, 137);
  EXPECT_TRUE(event.exit->oom_killed);
  WaitForEvent("oom");
}

TEST_F(VerbsTest, UpdateChangesTheLimits) {
  resources_ = {{"memory", {{"limit", 64 << 20}}}};
  RunContainer({"/bin/sleep", "1000"});
  auto updated = Call("update", {{"memory", {{"limit", 128 << 20}}}});
  EXPECT_TRUE(updated.ok()) << updated.status();
  EXPECT_EQ(Cgroup::Open(config_.cgroup_path)->Stats()->memory_limit, 128u << 20);
}

TEST_F(VerbsTest, DeleteNeedsForceWhileItRuns) {
  RunContainer({"/bin/sleep", "1000"});
  EXPECT_TRUE(absl::IsFailedPrecondition(Call("delete").status()));
  EXPECT_TRUE(Call("delete", {{"force", true}}).ok());
  EXPECT_TRUE(shim_->process().WaitEnded(After(kTestLimit), {}).ok());
  EXPECT_FALSE(Exists("/sys/fs/cgroup/freezer" + config_.cgroup_path));
}

TEST_F(VerbsTest, SignalsAndHostileClientsDoTheShimNoHarm) {
  RunContainer({"/bin/sleep", "1000"});
  for (int signal : {SIGTERM, SIGHUP, SIGINT, SIGPIPE}) EXPECT_TRUE(shim_->process().Signal(signal).ok());
  for (const char* bytes : {"\xff\xff\xff\xff", "\2\1\1\1xx", "garbage that is no frame at all"}) {
    for (const char* name : {protocol::kShimSocket, protocol::kAttachSocket}) {
      auto socket = ConnectUnix(shim_directory() + "/" + name);
      ASSERT_TRUE(socket.ok());
      EXPECT_TRUE(SendExactly(socket->get(), bytes, After(kTestLimit), {}).ok());
    }
  }
  EXPECT_TRUE(absl::IsUnimplemented(Call("frobnicate").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Call("kill", {{"signal", "nine"}}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Call("kill", {{"signal", 0}}).status()));
  EXPECT_TRUE(absl::IsNotFound(Call("kill", {{"process", "exec9"}, {"signal", 9}}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Call("resize", {{"width", -1}}).status()));
  EXPECT_EQ(State().status, "running");
}

TEST_F(VerbsTest, OrphansOfTheContainerDoNotStayAsZombies) {
  // Without a pid namespace of its own, what a process leaves behind comes to the shim.
  RunContainer({"/bin/sh", "-c", "(sleep 0.1 &) ; sleep 1000"});
  auto children = [&] {
    std::string pid = std::to_string(shim_->process().pid());
    return ReadFile("/proc/" + pid + "/task/" + pid + "/children").value_or("");
  };
  EXPECT_TRUE(Eventually([&] { return children() == std::to_string(State().pid) + " "; })) << children();
}

}  // namespace
}  // namespace stasis
