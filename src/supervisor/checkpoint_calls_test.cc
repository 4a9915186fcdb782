// The checkpoint calls over the fake shim: what is passed on, and what goes on beside a long checkpoint.
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <future>

#include "manifest/checkpoint_directory.h"
#include "supervisor/testing/supervisor_fixture.h"
#include "types/api.grpc.pb.h"

namespace stasis::supervisor {
namespace {

class CheckpointCallsTest : public SupervisorFixture {
 protected:
  types::CreateCheckpointRequest Request(const std::string& id, const std::string& name) {
    types::CreateCheckpointRequest request;
    request.set_id(id);
    request.mutable_checkpoint()->set_name(name);
    return request;
  }
  std::string BundleOf(const std::string& id) { return directory_->path() + "/bundle-" + id; }

  // A checkpoint as a checkpointer would leave it.
  void MakeCheckpoint(const std::string& directory, const std::string& name) {
    ASSERT_TRUE(MakeDirectories(directory + "/" + name).ok());
    Manifest manifest;
    manifest.name = name;
    manifest.created = absl::Now();
    manifest.tcp_established = true;
    ASSERT_TRUE(WriteManifest(directory + "/" + name, manifest).ok());
  }

  std::vector<std::string> List(const std::string& id, const std::string& directory = "") {
    types::ListCheckpointRequest request;
    request.set_id(id);
    request.set_checkpointdir(directory);
    auto response = client_->ListCheckpoint(request);
    EXPECT_TRUE(response.ok()) << response.status();
    std::vector<std::string> names;
    if (response.ok()) {
      for (const auto& checkpoint : response->checkpoints()) names.push_back(checkpoint.name());
    }
    return names;
  }

  Status Delete(const std::string& id, const std::string& name, const std::string& directory = "") {
    types::DeleteCheckpointRequest request;
    request.set_id(id);
    request.set_name(name);
    request.set_checkpointdir(directory);
    return client_->DeleteCheckpoint(request).status();
  }
};

TEST_F(CheckpointCallsTest, TheRequestReachesTheShimAndItsResultComesBack) {
  ASSERT_TRUE(Create("saved").ok());
  Touch(BundleOf("saved") + "/go");
  auto request = Request("saved", "cp1");
  request.mutable_checkpoint()->set_exit(true);
  request.mutable_checkpoint()->set_tcp(true);
  request.mutable_checkpoint()->add_emptyns("network");
  request.set_frozen_limit_ms(77);
  request.set_engine_record("{\"a\":1}");
  request.add_allow("mseal");
  auto response = client_->CreateCheckpoint(request);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->frozen_us(), 1234u);
  EXPECT_EQ(response->bytes(), 5678u);
  ASSERT_EQ(response->warnings_size(), 1);
  EXPECT_EQ(response->warnings(0), "a warning");
  auto text = ReadFile(BundleOf("saved") + "/last-checkpoint.json");
  ASSERT_TRUE(text.ok());
  auto plan = protocol::CheckpointRequestFromJson(*ParseJson(*text));
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->name, "cp1");
  EXPECT_EQ(plan->directory, BundleOf("saved") + "/checkpoints");
  EXPECT_TRUE(plan->exit);
  EXPECT_TRUE(plan->tcp);
  EXPECT_FALSE(plan->unix_sockets);
  EXPECT_EQ(plan->empty_namespaces, std::vector<std::string>{"network"});
  EXPECT_EQ(plan->frozen_limit_ms, 77u);
  EXPECT_EQ(plan->engine_record, "{\"a\":1}");
  EXPECT_EQ(plan->allow, std::vector<std::string>{"mseal"});
}

TEST_F(CheckpointCallsTest, ALongCheckpointDelaysNoCallAndGetsNoDeadlineWhileItGetsOn) {
  ASSERT_TRUE(Create("big").ok());
  ASSERT_TRUE(Create("other").ok());
  auto saving = std::async(std::launch::async, [&] {
    CallOptions options;
    options.quiet_limit = std::chrono::milliseconds(400);
    return client_->CreateCheckpoint(Request("big", "cp1"), options).status();
  });
  ASSERT_TRUE(Eventually([&] { return StateOf("big").checkpointing(); }));
  const uint64_t progress = StateOf("big").checkpoint_progress();
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(StateOf("big").status(), "running");
    ASSERT_TRUE(Update("other", "paused").ok());
    ASSERT_TRUE(Update("other", "running").ok());
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  EXPECT_EQ(saving.wait_for(std::chrono::milliseconds(1000)), std::future_status::timeout)
      << "far over the quiet limit, and still at it";
  EXPECT_GT(StateOf("big").checkpoint_progress(), progress);
  Touch(BundleOf("big") + "/go");
  Status saved = saving.get();
  EXPECT_TRUE(saved.ok()) << saved;
  EXPECT_FALSE(StateOf("big").checkpointing());
}

TEST_F(CheckpointCallsTest, ACheckpointWithoutProgressEndsByItsDeadline) {
  auto request = CreateRequest("stuck");
  ASSERT_TRUE(client_->CreateContainer(request).ok());
  Touch(request.bundlepath() + "/hang-checkpoint");
  CallOptions options;
  options.quiet_limit = std::chrono::milliseconds(300);
  Status status = client_->CreateCheckpoint(Request("stuck", "cp1"), options).status();
  EXPECT_EQ(status.code(), StatusCode::kDeadlineExceeded) << status;
  EXPECT_TRUE(Eventually([&] { return !StateOf("stuck").checkpointing(); }));
}

TEST_F(CheckpointCallsTest, ACallerThatGoesAwayCancelsItsCheckpoint) {
  ASSERT_TRUE(Create("cancelled").ok());
  std::stop_source stop;
  auto saving = std::async(std::launch::async, [&] {
    CallOptions options;
    options.cancel = stop.get_token();
    return client_->CreateCheckpoint(Request("cancelled", "cp1"), options).status();
  });
  ASSERT_TRUE(Eventually([&] { return StateOf("cancelled").checkpoint_progress() > 0; }));
  stop.request_stop();
  EXPECT_EQ(saving.get().code(), StatusCode::kCancelled);
  EXPECT_TRUE(Eventually([&] { return Exists(BundleOf("cancelled") + "/cancelled"); }));
}

TEST_F(CheckpointCallsTest, BadRequestsAreRefused) {
  ASSERT_TRUE(Create("fine").ok());
  EXPECT_EQ(client_->CreateCheckpoint(Request("nobody", "cp1")).status().code(), StatusCode::kNotFound);
  Status bad = client_->CreateCheckpoint(Request("fine", "../cp")).status();
  EXPECT_EQ(Message(bad), "Invalid checkpoint ID (../cp), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed");
  auto relative = Request("fine", "cp1");
  relative.set_checkpointdir("relative");
  EXPECT_EQ(client_->CreateCheckpoint(relative).status().code(), StatusCode::kInvalidArgument);
  MakeCheckpoint(BundleOf("fine") + "/checkpoints", "taken");
  Status taken = client_->CreateCheckpoint(Request("fine", "taken")).status();
  EXPECT_EQ(taken.code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(Message(taken), "checkpoint with name taken already exists for container fine");
}

TEST_F(CheckpointCallsTest, ARequestWithoutItsCheckpointMessageIsRefusedOnBothSides) {
  ASSERT_TRUE(Create("fine").ok());
  types::CreateCheckpointRequest request;
  request.set_id("fine");
  EXPECT_EQ(client_->CreateCheckpoint(request).status().code(), StatusCode::kInvalidArgument);
  auto stub =
      types::API::NewStub(grpc::CreateChannel("unix:" + options_.socket, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  types::CreateCheckpointResponse response;
  EXPECT_EQ(stub->CreateCheckpoint(&context, request, &response).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(CheckpointCallsTest, TheListLeavesOutWhatIsBrokenAndWhatHasNoLegalName) {
  ASSERT_TRUE(Create("listed").ok());
  const std::string directory = BundleOf("listed") + "/checkpoints";
  EXPECT_EQ(List("listed"), std::vector<std::string>());
  MakeCheckpoint(directory, "good");
  MakeCheckpoint(directory, ".good.partial-1234");
  ASSERT_TRUE(MakeDirectories(directory + "/empty").ok());
  ASSERT_TRUE(MakeDirectories(directory + "/of-containerd").ok());
  ASSERT_TRUE(WriteFileAtomically(directory + "/of-containerd/config.json",
                                  R"({"created":"2016-06-01T00:00:00Z","name":"of-containerd","tcp":true})")
                  .ok());
  ASSERT_TRUE(MakeDirectories(directory + "/broken").ok());
  ASSERT_TRUE(WriteFileAtomically(directory + "/broken/manifest.json", "{").ok());
  Touch(directory + "/a-file");
  EXPECT_EQ(List("listed"), (std::vector<std::string>{"good", "of-containerd"}));
  EXPECT_EQ(List("gone-already", directory), (std::vector<std::string>{"good", "of-containerd"}));
  types::ListCheckpointRequest request;
  request.set_id("gone-already");
  EXPECT_EQ(client_->ListCheckpoint(request).status().code(), StatusCode::kNotFound);
}

TEST_F(CheckpointCallsTest, OnlyCheckpointsAreDeletedAndOnlyByALegalName) {
  ASSERT_TRUE(Create("deleting").ok());
  const std::string directory = BundleOf("deleting") + "/checkpoints";
  MakeCheckpoint(directory, "good");
  ASSERT_TRUE(MakeDirectories(directory + "/of-containerd").ok());
  ASSERT_TRUE(WriteFileAtomically(directory + "/of-containerd/config.json", R"({"name":"x"})").ok());
  ASSERT_TRUE(MakeDirectories(directory + "/no-checkpoint").ok());
  for (const char* name : {"../..", "..", ".", "", "good/.."}) {
    EXPECT_EQ(Delete("deleting", name).code(), StatusCode::kInvalidArgument) << name;
  }
  Status missing = Delete("deleting", "no-checkpoint");
  EXPECT_EQ(missing.code(), StatusCode::kNotFound);
  EXPECT_EQ(Message(missing), "checkpoint no-checkpoint does not exist for container deleting");
  EXPECT_TRUE(Delete("deleting", "good").ok());
  EXPECT_TRUE(Delete("deleting", "of-containerd").ok());
  EXPECT_EQ(ListDirectory(directory).value(), std::vector<std::string>{"no-checkpoint"});
  EXPECT_TRUE(Exists(BundleOf("deleting") + "/config.json"));
}

TEST_F(CheckpointCallsTest, AContainerToBeRestoredMayBeKilledBeforeItIsStarted) {
  auto request = CreateRequest("restoring");
  MakeCheckpoint(request.bundlepath() + "/checkpoints", "cp1");
  request.set_checkpoint("cp1");
  request.set_create_only(true);
  ASSERT_TRUE(client_->CreateContainer(request).ok());
  EXPECT_EQ(StateOf("restoring").status(), "created");
  ASSERT_TRUE(Kill("restoring", "init", 15).ok());
  ASSERT_TRUE(Eventually([&] { return Shims().empty(); }));
  auto events = StoredEvents("restoring");
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].type(), "exit");
  EXPECT_EQ(events[0].status(), 143u);
}

}  // namespace
}  // namespace stasis::supervisor
