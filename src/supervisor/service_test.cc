// The service over the fake shim: what a client sees of containers, processes and events.
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <signal.h>
#include <sys/stat.h>

#include "supervisor/shim_client.h"
#include "supervisor/testing/supervisor_fixture.h"
#include "types/api.grpc.pb.h"

namespace stasis::supervisor {
namespace {

using ServiceTest = SupervisorFixture;
using Strings = std::vector<std::string>;

pid_t ShimPid(const std::string& state_directory, const std::string& id) {
  return std::stoi(ReadFile(state_directory + "/shims/" + id + "/shim.pid").value_or("0"));
}

TEST_F(ServiceTest, AContainerIsCreatedShownKilledAndGone) {
  auto request = CreateRequest("one-container");
  request.add_labels("a=b");
  request.set_runtime("docker-runc");
  auto created = client_->CreateContainer(request);
  ASSERT_TRUE(created.ok()) << created.status();
  types::Container container = StateOf("one-container");
  EXPECT_EQ(container.status(), "running");
  EXPECT_EQ(container.bundlepath(), request.bundlepath());
  EXPECT_EQ(container.labels(0), "a=b");
  EXPECT_EQ(container.runtime(), "docker-runc");
  ASSERT_EQ(container.processes_size(), 1);
  EXPECT_EQ(container.processes(0).pid(), "init");
  EXPECT_EQ(container.processes(0).args(0), "sleep");
  EXPECT_GT(container.processes(0).systempid(), 0u);
  EXPECT_EQ(container.attach_socket(), options_.state_directory + "/shims/one-container/attach.sock");

  ASSERT_TRUE(Kill("one-container").ok());
  ASSERT_TRUE(Eventually([&] { return Shims().empty(); }));
  EXPECT_EQ(StateOf("one-container").id(), "");
  EXPECT_EQ(EventTypes("one-container"), (Strings{"start-container init", "exit init"}));
  EXPECT_EQ(StoredEvents("one-container")[1].status(), 137u);
  EXPECT_EQ(Kill("one-container").code(), StatusCode::kNotFound);
}

TEST_F(ServiceTest, AnIdIsTakenWhileItsContainerLivesAndFreeWhenItsExitIsTold) {
  types::EventsRequest live;
  auto events = client_->Events(live);
  ASSERT_TRUE(events.ok());
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(Create("reused").ok());
    EXPECT_EQ(Create("reused").code(), StatusCode::kAlreadyExists);
    ASSERT_TRUE(Kill("reused").ok());
    StatusOr<types::Event> event = events->Next({});
    while (event.ok() && event->type() != "exit") event = events->Next({});
    ASSERT_TRUE(event.ok()) << event.status();
  }
}

TEST_F(ServiceTest, BadRequestsAreRefusedByName) {
  auto request = CreateRequest("fine");
  request.set_id("../evil");
  EXPECT_EQ(client_->CreateContainer(request).status().code(), StatusCode::kInvalidArgument);
  request.set_id("fine");
  request.set_bundlepath("relative");
  EXPECT_EQ(client_->CreateContainer(request).status().code(), StatusCode::kInvalidArgument);
  request.set_bundlepath("/nonexistent");
  EXPECT_EQ(client_->CreateContainer(request).status().code(), StatusCode::kNotFound);
  request = CreateRequest("fine");
  request.set_checkpoint("../../etc");
  EXPECT_EQ(client_->CreateContainer(request).status().code(), StatusCode::kInvalidArgument);
  request.set_checkpoint("none-such");
  Status missing = client_->CreateContainer(request).status();
  EXPECT_EQ(Message(missing), "checkpoint none-such does not exist for container fine");
  EXPECT_EQ(missing.code(), StatusCode::kNotFound);
  ASSERT_TRUE(Create("fine").ok());
  EXPECT_EQ(Kill("fine", "init", 0).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Kill("fine", "init", 65).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Kill("fine", "nobody").code(), StatusCode::kNotFound);
  EXPECT_EQ(Update("fine", "flying").code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Update("fine", "running").code(), StatusCode::kFailedPrecondition);
}

TEST_F(ServiceTest, AFailureOfAnyStepOfCreationLeavesNothing) {
  for (const char* how :
       {"fail-ready", "fail-create", "fail-start", "die-at-hello", "die-at-create", "die-at-start"}) {
    SCOPED_TRACE(how);
    auto request = CreateRequest("failing");
    Touch(request.bundlepath() + "/" + how);
    Status failed = client_->CreateContainer(request).status();
    EXPECT_FALSE(failed.ok());
    EXPECT_FALSE(ConnectionBroken(failed));
    EXPECT_EQ(Shims(), Strings());
    EXPECT_EQ(StateOf("failing").id(), "");
    ASSERT_TRUE(RemoveTree(request.bundlepath()).ok());
    ASSERT_TRUE(Create("failing").ok()) << "the id is free again";
    ASSERT_TRUE(Kill("failing").ok());
    ASSERT_TRUE(Eventually([&] { return Shims().empty(); }));
  }
}

TEST_F(ServiceTest, TheErrorOfAFailedCreationHasItsCause) {
  auto request = CreateRequest("failing");
  Touch(request.bundlepath() + "/fail-ready");
  EXPECT_NE(Message(client_->CreateContainer(request).status()).find("this shim can't"), std::string::npos);
}

TEST_F(ServiceTest, ACallerThatGoesAwayDuringACreationLeavesNothing) {
  auto request = CreateRequest("abandoned");
  Touch(request.bundlepath() + "/hang-start");
  CallOptions options;
  options.quiet_limit = std::chrono::milliseconds(300);
  EXPECT_EQ(client_->CreateContainer(request, options).status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(Eventually([&] { return Shims().empty(); }));
}

TEST_F(ServiceTest, AShimThatDiesIsReportedAsExit255) {
  ASSERT_TRUE(Create("orphan").ok());
  types::AddProcessRequest exec;
  exec.set_id("orphan");
  exec.set_pid("exec-1");
  exec.add_args("true");
  ASSERT_TRUE(client_->AddProcess(exec).ok());
  // What it has not told yet dies with it.
  ASSERT_TRUE(Eventually([&] {
    return EventTypes("orphan") == Strings{"start-container init", "start-process exec-1"};
  }));
  ::kill(ShimPid(options_.state_directory, "orphan"), SIGKILL);
  ASSERT_TRUE(Eventually([&] { return Shims().empty(); }));
  auto events = StoredEvents("orphan");
  ASSERT_EQ(EventTypes("orphan"),
            (Strings{"start-container init", "start-process exec-1", "exit exec-1", "exit init"}));
  EXPECT_EQ(events[3].status(), 255u);
  EXPECT_EQ(events[3].reason(), "shim died");
}

TEST_F(ServiceTest, ProcessesAreAddedShownSignalledAndTheirEndIsTold) {
  ASSERT_TRUE(Create("with-exec").ok());
  types::AddProcessRequest exec;
  exec.set_id("with-exec");
  exec.set_pid("exec-1");
  exec.set_cwd("/tmp");
  EXPECT_EQ(client_->AddProcess(exec).status().code(), StatusCode::kInvalidArgument) << "no arguments";
  exec.add_args("sh");
  auto added = client_->AddProcess(exec);
  ASSERT_TRUE(added.ok()) << added.status();
  EXPECT_GT(added->systempid(), 0u);
  EXPECT_EQ(client_->AddProcess(exec).status().code(), StatusCode::kAlreadyExists);
  types::Container container = StateOf("with-exec");
  ASSERT_EQ(container.processes_size(), 2);
  EXPECT_EQ(container.processes(1).pid(), "exec-1");
  EXPECT_EQ(container.processes(1).cwd(), "/tmp");

  types::UpdateProcessRequest update;
  update.set_id("with-exec");
  update.set_pid("exec-1");
  update.set_width(80);
  update.set_height(25);
  update.set_closestdin(true);
  EXPECT_TRUE(client_->UpdateProcess(update).ok());
  ASSERT_TRUE(Kill("with-exec", "exec-1", 15).ok());
  ASSERT_TRUE(Eventually([&] { return StateOf("with-exec").processes_size() == 1; }));
  EXPECT_TRUE(Eventually([&] {
    return EventTypes("with-exec") == Strings{"start-container init", "start-process exec-1", "exit exec-1"};
  }));
  EXPECT_TRUE(client_->AddProcess(exec).ok()) << "its id is free again";
}

TEST_F(ServiceTest, PauseAndResumeAreShownAndTold) {
  ASSERT_TRUE(Create("pausing").ok());
  ASSERT_TRUE(Update("pausing", "paused").ok());
  EXPECT_EQ(StateOf("pausing").status(), "paused");
  ASSERT_TRUE(Update("pausing", "running").ok());
  EXPECT_EQ(StateOf("pausing").status(), "running");
  EXPECT_TRUE(Eventually([&] {
    return EventTypes("pausing") == Strings{"start-container init", "pause init", "resume init"};
  }));
}

TEST_F(ServiceTest, AContainerThatIsOnlyCreatedWaitsForItsStart) {
  auto request = CreateRequest("waiting");
  request.set_create_only(true);
  ASSERT_TRUE(client_->CreateContainer(request).ok());
  EXPECT_EQ(StateOf("waiting").status(), "created");
  EXPECT_EQ(EventTypes("waiting"), Strings());
  ASSERT_TRUE(Update("waiting", "running").ok());
  EXPECT_EQ(StateOf("waiting").status(), "running");
}

TEST_F(ServiceTest, AStartThatFailsLaterDiscardsTheContainer) {
  auto request = CreateRequest("waiting");
  request.set_create_only(true);
  ASSERT_TRUE(client_->CreateContainer(request).ok());
  Touch(request.bundlepath() + "/fail-start");
  EXPECT_FALSE(Update("waiting", "running").ok());
  EXPECT_EQ(Shims(), Strings());
  EXPECT_EQ(StateOf("waiting").id(), "");
}

TEST_F(ServiceTest, AfterARestartContainersAreFoundAgainAndNothingIsToldTwice) {
  auto waiting = CreateRequest("waiting");
  waiting.set_create_only(true);
  ASSERT_TRUE(client_->CreateContainer(waiting).ok());
  ASSERT_TRUE(Create("running").ok());
  ASSERT_TRUE(Create("dying").ok());
  ASSERT_TRUE(Eventually([&] { return StoredEvents().size() == 2; }));
  pid_t dying = ShimPid(options_.state_directory, "dying");
  server_.reset();
  ::kill(dying, SIGKILL);
  StartServer();
  ASSERT_FALSE(HasFatalFailure());
  ASSERT_TRUE(Eventually([&] { return StateOf("running").status() == "running"; }));
  EXPECT_EQ(StateOf("waiting").status(), "created");
  ASSERT_TRUE(Eventually([&] { return StateOf("dying").id().empty(); }));
  EXPECT_EQ(EventTypes("running"), (Strings{"start-container init"}));
  EXPECT_EQ(EventTypes("dying"), (Strings{"start-container init", "exit init"}));
  EXPECT_EQ(StoredEvents("dying")[1].reason(), "shim died");
  EXPECT_TRUE(Update("waiting", "running").ok());
}

TEST_F(ServiceTest, TheSocketIsForItsGroupAndForOneSupervisor) {
  struct stat info;
  ASSERT_EQ(::stat(options_.socket.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0660u);
  ServerOptions same_socket = options_;
  same_socket.state_directory = directory_->path() + "/other-run";
  EXPECT_EQ(Server::Start(same_socket).status().code(), StatusCode::kAlreadyExists);
  ServerOptions same_state = options_;
  same_state.socket = directory_->path() + "/other.sock";
  EXPECT_EQ(Server::Start(same_state).status().code(), StatusCode::kAlreadyExists);
  EXPECT_TRUE(client_->GetServerVersion({}).ok()) << "the first one serves on";
}

TEST_F(ServiceTest, AStartThatALostCallerBeganIsFoundDone) {
  auto request = CreateRequest("waiting");
  request.set_create_only(true);
  ASSERT_TRUE(client_->CreateContainer(request).ok());
  server_.reset();
  // What a supervisor that was killed during the call had asked for.
  ShimClient shim(options_.state_directory + "/shims/waiting");
  ASSERT_TRUE(Eventually([&] { return shim.Hello({}).ok(); }));
  StartServer();
  ASSERT_TRUE(shim.Call("start", Json::object(), {}).ok());
  Status status = Update("waiting", "running");  // may see it created still, or running already
  EXPECT_TRUE(status.ok() || status.code() == StatusCode::kFailedPrecondition) << status;
  EXPECT_TRUE(Eventually([&] { return StateOf("waiting").status() == "running"; }));
}

// ---- events

TEST_F(ServiceTest, EventsWithoutATimestampAreLiveOnesOnly) {
  ASSERT_TRUE(Create("before").ok());
  ASSERT_TRUE(Eventually([&] { return StoredEvents().size() == 1; }));
  auto events = client_->Events({});
  ASSERT_TRUE(events.ok()) << events.status();
  ASSERT_TRUE(Create("after").ok());
  auto first = events->Next({});
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->id(), "after");
  EXPECT_EQ(first->type(), "start-container");
}

TEST_F(ServiceTest, EventsReplayFromATimestampThenSayLiveThenGoOn) {
  ASSERT_TRUE(Create("one-container").ok());
  ASSERT_TRUE(Create("two-container").ok());
  ASSERT_TRUE(Eventually([&] { return StoredEvents().size() == 2; }));
  auto stored = StoredEvents();
  types::EventsRequest request;
  *request.mutable_timestamp() = stored[0].timestamp();
  auto events = client_->Events(request);
  ASSERT_TRUE(events.ok());
  auto event = events->Next({});
  ASSERT_TRUE(event.ok());
  EXPECT_EQ(event->id(), "two-container") << "later than the timestamp, not at it";
  event = events->Next({});
  ASSERT_TRUE(event.ok());
  EXPECT_EQ(event->type(), "live");
  ASSERT_TRUE(Kill("one-container").ok());
  event = events->Next({});
  ASSERT_TRUE(event.ok());
  EXPECT_EQ(event->type(), "exit");
}

TEST_F(ServiceTest, StoredEventsWithoutATimestampAreRefused) {
  types::EventsRequest request;
  request.set_storedonly(true);
  auto events = client_->Events(request);
  Status status = events.ok() ? events->Next({}).status() : events.status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Message(status),
            "invalid parameter: StoredOnly cannot be specified without setting a valid Timestamp");
}

TEST_F(ServiceTest, AClientThatDoesNotReadHoldsUpNobody) {
  auto stuck = client_->Events({});
  Client other(options_.socket);
  auto reading = other.Events({});
  ASSERT_TRUE(stuck.ok() && reading.ok());
  ASSERT_TRUE(Create("busy").ok());
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(Update("busy", "paused").ok());
    ASSERT_TRUE(Update("busy", "running").ok());
  }
  for (int i = 0; i < 401; ++i) ASSERT_TRUE(reading->Next({}).ok());
  ASSERT_TRUE(Kill("busy").ok());
}

TEST_F(ServiceTest, CancellingNextEndsTheStream) {
  auto events = client_->Events({});
  ASSERT_TRUE(events.ok());
  std::stop_source stop;
  std::jthread stopper([&] { stop.request_stop(); });
  EXPECT_EQ(events->Next(stop.get_token()).status().code(), StatusCode::kCancelled);
  EXPECT_EQ(events->Next({}).status().code(), StatusCode::kCancelled);
}

}  // namespace
}  // namespace stasis::supervisor
