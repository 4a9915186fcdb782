// A client of 2016, generated from a definition without any field of ours, over the real programs: runs a
// container with FIFOs, adds a process, checkpoints, lists, restores, signals.
#include <fcntl.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>

#include <memory>
#include <thread>

#include "containerd_0_2.grpc.pb.h"
#include "linux/clock.h"
#include "linux/files.h"
#include "linux/subprocess.h"
#include "supervisor/testing/busybox_bundle.h"

namespace stasis::supervisor {
namespace {

constexpr char kId[] = "old-client";
const std::string kBin = STASIS_BIN;

// The FIFOs of one process, as Docker 1.11 made them.
struct Fifos {
  std::string in, out, error;
  UniqueFd reader;  // of out
};

class OldClientTest : public testing::Test {
 protected:
  void SetUp() override {
    auto why = WhyNoContainers({kBin + "/stasis-supervisor", kBin + "/stasis-shim",
                                kBin + "/stasis-checkpointer", STASIS_RUNC, STASIS_CRIU});
    if (why) GTEST_SKIP() << *why;
    auto directory = TemporaryDirectory::Create("/tmp", "old-client-");
    ASSERT_TRUE(directory.ok());
    directory_ = std::make_unique<TemporaryDirectory>(*std::move(directory));
    ASSERT_TRUE(MakeBusyboxBundle(bundle(), kId,
                                  {"sh", "-c", "i=0; while true; do echo $i; i=$((i+1)); sleep 0.05; done"})
                    .ok());
    StartSupervisor();
  }

  void TearDown() override {
    if (!directory_) return;
    Kill();
    EXPECT_TRUE(WaitForNoShims());
    supervisor_.reset();
  }

  std::string bundle() const { return directory_->path() + "/bundle"; }

  void StartSupervisor() {
    const std::string socket = directory_->path() + "/s.sock";
    auto child = Spawn({.argv = {kBin + "/stasis-supervisor", "--state", directory_->path() + "/run",
                                 "--socket", socket, "--shim", kBin + "/stasis-shim", "--checkpointer",
                                 kBin + "/stasis-checkpointer", "--runc", STASIS_RUNC, "--criu", STASIS_CRIU},
                        .env = BaseEnvironment(),
                        .fds = {{2, 2}}});
    ASSERT_TRUE(child.ok()) << child.status();
    supervisor_.emplace(*std::move(child));
    stub_ = types::API::NewStub(grpc::CreateChannel("unix:" + socket, grpc::InsecureChannelCredentials()));
    types::GetServerVersionResponse version;
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    grpc::Status answered = stub_->GetServerVersion(&context, {}, &version);
    ASSERT_TRUE(answered.ok()) << answered.error_message();
    ASSERT_EQ(version.minor(), 2u);
  }

  Fifos MakeFifos(const std::string& name) {
    Fifos fifos{directory_->path() + "/" + name + "-in", directory_->path() + "/" + name + "-out",
                directory_->path() + "/" + name + "-err", UniqueFd()};
    for (const std::string& path : {fifos.in, fifos.out, fifos.error}) {
      ::unlink(path.c_str());
      EXPECT_EQ(::mkfifo(path.c_str(), 0600), 0);
    }
    fifos.reader = *OpenFile(fifos.out, O_RDONLY | O_NONBLOCK);
    return fifos;
  }

  grpc::Status Create(const Fifos& fifos, const std::string& checkpoint = "") {
    types::CreateContainerRequest request;
    request.set_id(kId);
    request.set_bundlepath(bundle());
    request.set_stdin(fifos.in);
    request.set_stdout(fifos.out);
    request.set_stderr(fifos.error);
    request.set_checkpoint(checkpoint);
    types::CreateContainerResponse response;
    grpc::ClientContext context;
    return stub_->CreateContainer(&context, request, &response);
  }

  grpc::Status Checkpoint(const std::string& name, bool exit) {
    types::CreateCheckpointRequest request;
    request.set_id(kId);
    request.mutable_checkpoint()->set_name(name);
    request.mutable_checkpoint()->set_exit(exit);
    types::CreateCheckpointResponse response;
    grpc::ClientContext context;
    return stub_->CreateCheckpoint(&context, request, &response);
  }

  void Kill() {
    types::SignalRequest request;
    request.set_id(kId);
    request.set_pid("init");
    request.set_signal(SIGKILL);
    types::SignalResponse response;
    grpc::ClientContext context;
    stub_->Signal(&context, request, &response);
  }

  bool WaitForNoShims() {
    for (int i = 0; i < 1000; ++i) {
      if (ListDirectory(directory_->path() + "/run/shims").value_or(std::vector<std::string>()).empty())
        return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return false;
  }

  // The next whole line; empty when none came in time.
  std::string ReadLine(const Fifos& fifos, std::chrono::seconds limit = std::chrono::seconds(10)) {
    std::string line;
    for (const Deadline deadline = After(limit); std::chrono::steady_clock::now() < deadline;) {
      pollfd polled{fifos.reader.get(), POLLIN, 0};
      ::poll(&polled, 1, 100);
      char byte;
      while (::read(fifos.reader.get(), &byte, 1) == 1) {
        if (byte == '\n') return line;
        line += byte;
      }
    }
    return "";
  }

  std::vector<types::Event> StoredEvents() {
    types::EventsRequest request;
    request.mutable_timestamp()->set_seconds(-62135596800);
    request.set_storedonly(true);
    grpc::ClientContext context;
    auto reader = stub_->Events(&context, request);
    std::vector<types::Event> events;
    types::Event event;
    while (reader->Read(&event)) events.push_back(event);
    EXPECT_TRUE(reader->Finish().ok());
    return events;
  }

  std::unique_ptr<TemporaryDirectory> directory_;
  std::optional<Child> supervisor_;
  std::unique_ptr<types::API::Stub> stub_;
};

TEST_F(OldClientTest, RunsChecksPointsListsRestoresAndSignals) {
  Fifos fifos = MakeFifos("init");
  grpc::Status created = Create(fifos);
  ASSERT_TRUE(created.ok()) << created.error_message();
  EXPECT_EQ(ReadLine(fifos), "0");
  EXPECT_EQ(ReadLine(fifos), "1");

  types::AddProcessRequest exec;
  exec.set_id(kId);
  exec.set_pid("exec-1");
  exec.add_args("sh");
  exec.add_args("-c");
  exec.add_args("echo from exec; exit 3");
  exec.add_env("PATH=/bin");
  exec.mutable_user()->set_uid(0);
  Fifos exec_fifos = MakeFifos("exec");
  exec.set_stdin(exec_fifos.in);
  exec.set_stdout(exec_fifos.out);
  exec.set_stderr(exec_fifos.error);
  {
    types::AddProcessResponse response;
    grpc::ClientContext context;
    grpc::Status added = stub_->AddProcess(&context, exec, &response);
    ASSERT_TRUE(added.ok()) << added.error_message();
    EXPECT_EQ(ReadLine(exec_fifos), "from exec");
  }

  grpc::Status saved = Checkpoint("running-on", false);
  ASSERT_TRUE(saved.ok()) << saved.error_message();
  types::ListCheckpointRequest list;
  list.set_id(kId);
  types::ListCheckpointResponse listed;
  {
    grpc::ClientContext context;
    ASSERT_TRUE(stub_->ListCheckpoint(&context, list, &listed).ok());
    ASSERT_EQ(listed.checkpoints_size(), 1);
    EXPECT_EQ(listed.checkpoints(0).name(), "running-on");
  }
  saved = Checkpoint("ending", true);
  ASSERT_TRUE(saved.ok()) << saved.error_message();
  ASSERT_TRUE(WaitForNoShims());
  std::string last;
  for (std::string line; !(line = ReadLine(fifos, std::chrono::seconds(1))).empty();) last = line;

  fifos = MakeFifos("init");
  grpc::Status restored = Create(fifos, "ending");
  ASSERT_TRUE(restored.ok()) << restored.error_message();
  EXPECT_EQ(ReadLine(fifos), std::to_string(std::stoi(last) + 1)) << "it goes on where it stood";
  {
    types::StateRequest request;
    request.set_id(kId);
    types::StateResponse state;
    grpc::ClientContext context;
    ASSERT_TRUE(stub_->State(&context, request, &state).ok());
    EXPECT_EQ(state.containers(0).status(), "running");
    EXPECT_GE(state.containers(0).pids_size(), 1);
  }
  Kill();
  ASSERT_TRUE(WaitForNoShims());
  std::vector<std::string> told;
  for (const types::Event& event : StoredEvents()) {
    told.push_back(event.type() + " " + event.pid() + " " + std::to_string(event.status()));
  }
  EXPECT_EQ(told, (std::vector<std::string>{"start-container init 0", "start-process exec-1 0",
                                            "exit exec-1 3", "exit init 137", "start-container init 0",
                                            "exit init 137", "live  0"}));
}

}  // namespace
}  // namespace stasis::supervisor
