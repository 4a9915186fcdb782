// Our service and client over the real shim and runc.
#include <signal.h>

#include "linux/cgroup.h"
#include "supervisor/testing/busybox_bundle.h"
#include "supervisor/testing/supervisor_fixture.h"

namespace stasis::supervisor {
namespace {

class RealShimTest : public SupervisorFixture {
 protected:
  void SetUp() override {
    const std::string bin = STASIS_BIN;
    auto why = WhyNoContainers({bin + "/stasis-shim", bin + "/stasis-checkpointer", STASIS_RUNC});
    if (why) GTEST_SKIP() << *why;
    SupervisorFixture::SetUp();
    server_.reset();
    options_.programs = {bin + "/stasis-shim", bin + "/stasis-checkpointer", STASIS_RUNC, STASIS_CRIU};
    StartServer();
  }

  types::CreateContainerRequest RealRequest(const std::string& id, const std::string& script) {
    types::CreateContainerRequest request;
    request.set_id(id);
    request.set_bundlepath(directory_->path() + "/real-" + id);
    request.set_log_path(request.bundlepath() + "/log");
    Status made = MakeBusyboxBundle(request.bundlepath(), id, {"sh", "-c", script});
    EXPECT_TRUE(made.ok()) << made;
    return request;
  }

  bool Ended(const std::string& id) {
    return Eventually([&] { return StateOf(id).id().empty(); });
  }
};

TEST_F(RealShimTest, AContainerRunsToItsEndAndItsExitCodeIsTold) {
  auto created = client_->CreateContainer(RealRequest("short", "echo hello; exit 7"));
  ASSERT_TRUE(created.ok()) << created.status();
  ASSERT_TRUE(Ended("short"));
  auto events = StoredEvents("short");
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].type(), "start-container");
  EXPECT_EQ(events[1].status(), 7u);
  auto log = ReadFile(directory_->path() + "/real-short/log");
  ASSERT_TRUE(log.ok()) << log.status();
  EXPECT_NE(log->find("hello"), std::string::npos);
  EXPECT_TRUE(Eventually([&] { return Shims().empty(); }));
}

TEST_F(RealShimTest, StateStatsPauseExecAndKillWork) {
  auto created = client_->CreateContainer(RealRequest("long", "while true; do sleep 1; done"));
  ASSERT_TRUE(created.ok()) << created.status();
  types::Container container = StateOf("long");
  EXPECT_EQ(container.status(), "running");
  EXPECT_GE(container.pids_size(), 1);
  EXPECT_GT(container.started_at().seconds(), 0);

  types::StatsRequest stats_request;
  stats_request.set_id("long");
  auto stats = client_->Stats(stats_request);
  ASSERT_TRUE(stats.ok()) << stats.status();
  EXPECT_GT(stats->cgroup_stats().memory_stats().usage().usage(), 0u);
  EXPECT_GT(stats->cgroup_stats().cpu_stats().system_usage(), 0u);

  ASSERT_TRUE(Update("long", "paused").ok());
  EXPECT_EQ(StateOf("long").status(), "paused");
  ASSERT_TRUE(Update("long", "running").ok());

  types::UpdateContainerRequest update;
  update.set_id("long");
  update.mutable_resources()->set_memorylimit(64 << 20);
  Status updated = client_->UpdateContainer(update).status();
  EXPECT_TRUE(updated.ok()) << updated;
  stats = client_->Stats(stats_request);
  ASSERT_TRUE(stats.ok());
  EXPECT_EQ(stats->cgroup_stats().memory_stats().usage().limit(), 64u << 20);

  types::AddProcessRequest exec;
  exec.set_id("long");
  exec.set_pid("exec-1");
  for (const char* word : {"sh", "-c", "exit 5"}) exec.add_args(word);
  exec.add_env("PATH=/bin");
  auto added = client_->AddProcess(exec);
  ASSERT_TRUE(added.ok()) << added.status();
  EXPECT_TRUE(Eventually([&] { return StoredEvents("long").back().status() == 5; }));

  ASSERT_TRUE(Kill("long").ok());
  ASSERT_TRUE(Ended("long"));
  EXPECT_EQ(StoredEvents("long").back().status(), 137u);
}

TEST_F(RealShimTest, WhatCannotStartIsRefusedWithTheRuntimesReason) {
  auto request = RealRequest("unstartable", "true");
  ASSERT_TRUE(MakeBusyboxBundle(request.bundlepath(), "unstartable", {"/no/such/program"}).ok());
  Status status = client_->CreateContainer(request).status();
  EXPECT_FALSE(status.ok());
  EXPECT_NE(Message(status).find("/no/such/program"), std::string::npos) << status;
  EXPECT_EQ(Shims(), std::vector<std::string>());
}

TEST_F(RealShimTest, AShimKilledTakesItsContainerWithIt) {
  auto created = client_->CreateContainer(RealRequest("orphan", "while true; do sleep 1; done"));
  ASSERT_TRUE(created.ok()) << created.status();
  pid_t init = static_cast<pid_t>(created->container().processes(0).systempid());
  ASSERT_GT(init, 1);
  pid_t shim = std::stoi(ReadFile(options_.state_directory + "/shims/orphan/shim.pid").value_or("0"));
  ASSERT_GT(shim, 1);
  ::kill(shim, SIGKILL);
  ASSERT_TRUE(Ended("orphan"));
  EXPECT_EQ(StoredEvents("orphan").back().status(), 255u);
  EXPECT_EQ(StoredEvents("orphan").back().reason(), "shim died");
  EXPECT_TRUE(Eventually([&] { return ::kill(init, 0) != 0; }));
  EXPECT_TRUE(Eventually([&] { return Shims().empty(); }));
  EXPECT_FALSE(Exists(options_.state_directory + "/runc/orphan"));
}

TEST_F(RealShimTest, ARestartOfTheSupervisorLosesNoExit) {
  auto created = client_->CreateContainer(RealRequest("through", "while true; do sleep 1; done"));
  ASSERT_TRUE(created.ok()) << created.status();
  auto left = client_->CreateContainer(RealRequest("leaving", "sleep 1; exit 9"));
  ASSERT_TRUE(left.ok()) << left.status();
  server_.reset();
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));  // until it has ended with nobody there
  StartServer();
  EXPECT_EQ(StateOf("through").status(), "running");
  ASSERT_TRUE(Ended("leaving"));
  EXPECT_EQ(StoredEvents("leaving").back().status(), 9u);
  EXPECT_LT(FromProto(StoredEvents("leaving").back().at()),
            FromProto(StoredEvents("leaving").back().timestamp()));
}

}  // namespace
}  // namespace stasis::supervisor
