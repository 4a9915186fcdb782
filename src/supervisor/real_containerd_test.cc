// The old programs themselves: our client against a containerd 0.2.9, and its ctr against our server. Debian
// has none so old: tests/containerd-0.2.sh builds one from its source, and names it in STASIS_CONTAINERD.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include <cstdlib>
#include <optional>

#include "linux/process_handle.h"
#include "linux/subprocess.h"
#include "supervisor/testing/busybox_bundle.h"
#include "supervisor/testing/supervisor_fixture.h"

namespace stasis::supervisor {
namespace {

constexpr char kId[] = "of-2016";

// The directory of the old programs; empty where there is none.
std::string OldPrograms() {
  const char* directory = std::getenv("STASIS_CONTAINERD");
  return directory != nullptr ? directory : "";
}

std::string Directory(const std::string& path) { return path.substr(0, path.rfind('/')); }

class RealContainerdTest : public testing::Test {
 protected:
  void SetUp() override {
    if (OldPrograms().empty()) GTEST_SKIP() << "no containerd 0.2.9: tests/containerd-0.2.sh builds one";
    auto why = WhyNoContainers(
        {OldPrograms() + "/containerd", OldPrograms() + "/containerd-shim", STASIS_RUNC, STASIS_CRIU});
    if (why) GTEST_SKIP() << *why;
    auto directory = TemporaryDirectory::Create("/tmp", "containerd-test-");
    ASSERT_TRUE(directory.ok()) << directory.status();
    directory_ = std::make_unique<TemporaryDirectory>(*std::move(directory));
    socket_ = directory_->path() + "/containerd.sock";
    client_ = std::make_unique<Client>(socket_);
    StartContainerd();
  }

  void TearDown() override {
    if (!directory_) return;
    if (daemon_) {
      Signal(SIGKILL).IgnoreError();
      EXPECT_TRUE(Eventually([&] { return Status() == ""; }));
    }
    daemon_.reset();
  }

  void StartContainerd() {
    std::map<std::string, std::string> environment = BaseEnvironment();
    environment["PATH"] = Directory(STASIS_CRIU) + ":" + environment["PATH"];
    auto child = Spawn({.argv = {OldPrograms() + "/containerd", "--listen", "unix://" + socket_,
                                 "--state-dir", directory_->path() + "/state", "--runtime", STASIS_RUNC,
                                 "--shim", OldPrograms() + "/containerd-shim"},
                        .env = environment,
                        .fds = {{2, 2}}});
    ASSERT_TRUE(child.ok()) << child.status();
    daemon_.emplace(*std::move(child));
  }

  // Starts it, with a FIFO for each stream as it wants them.
  stasis::Status Create(const std::vector<std::string>& command) {
    types::CreateContainerRequest request;
    request.set_id(kId);
    request.set_bundlepath(directory_->path() + "/bundle");
    request.set_stdin(Fifo("in"));
    request.set_stdout(Fifo("out"));
    request.set_stderr(Fifo("err"));
    request.add_labels(std::string(64 << 10, 'x'));  // long messages would be compressed first
    STASIS_RETURN_IF_ERROR(MakeBusyboxBundle(request.bundlepath(), kId, command));
    return client_->CreateContainer(request).status();
  }

  std::string Fifo(const std::string& name) {
    std::string path = directory_->path() + "/" + name;
    EXPECT_EQ(::mkfifo(path.c_str(), 0600), 0);
    ends_.push_back(*OpenFile(path, O_RDWR | O_NONBLOCK));
    return path;
  }

  // Of the container: "running", or nothing where it is gone.
  std::string Status() {
    types::StateRequest request;
    request.set_id(kId);
    auto state = client_->State(request);
    return state.ok() && state->containers_size() == 1 ? state->containers(0).status() : "";
  }

  stasis::Status Signal(uint32_t signal) {
    types::SignalRequest request;
    request.set_id(kId);
    request.set_pid("init");
    request.set_signal(signal);
    return client_->Signal(request).status();
  }

  stasis::Status Checkpoint(const std::string& name, const CallOptions& options = {}) {
    types::CreateCheckpointRequest request;
    request.set_id(kId);
    request.mutable_checkpoint()->set_name(name);
    return client_->CreateCheckpoint(request, options).status();
  }

  std::unique_ptr<TemporaryDirectory> directory_;
  std::string socket_;
  std::vector<UniqueFd> ends_;
  std::optional<Child> daemon_;
  std::unique_ptr<Client> client_;
};

TEST_F(RealContainerdTest, OurClientRunsChecksPointsListsAndSignals) {
  auto version = client_->GetServerVersion({});
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_EQ(version->minor(), 2u);
  types::EventsRequest from_now;
  auto events = client_->Events(from_now);
  ASSERT_TRUE(events.ok()) << events.status();
  ASSERT_TRUE(Create({"sleep", "1000"}).ok());
  EXPECT_EQ(Status(), "running");

  stasis::Status saved = Checkpoint("cp1");
  ASSERT_TRUE(saved.ok()) << saved;
  types::ListCheckpointRequest list;
  list.set_id(kId);
  auto listed = client_->ListCheckpoint(list);
  ASSERT_TRUE(listed.ok()) << listed.status();
  ASSERT_EQ(listed->checkpoints_size(), 1);
  EXPECT_EQ(listed->checkpoints(0).name(), "cp1");
  types::StatsRequest stats;
  stats.set_id(kId);
  EXPECT_TRUE(client_->Stats(stats).ok());

  ASSERT_TRUE(Signal(SIGKILL).ok());
  std::vector<std::string> told;
  while (told.empty() || told.back() != "exit init") {
    auto event = events->Next({});
    ASSERT_TRUE(event.ok()) << event.status();
    told.push_back(event->type() + " " + event->pid());
  }
  EXPECT_EQ(told.front().substr(0, 15), "start-container");
}

TEST_F(RealContainerdTest, ItsErrorsKeepTheirCodesAndWords) {
  stasis::Status unknown = Checkpoint("cp1");
  EXPECT_EQ(unknown.code(), StatusCode::kUnknown) << unknown;
  EXPECT_EQ(Message(unknown), "containerd: container not found");
  types::ListCheckpointRequest list;
  list.set_id(kId);
  EXPECT_TRUE(absl::IsNotFound(client_->ListCheckpoint(list).status()));
  CallOptions compressed;
  compressed.compress = true;
  stasis::Status refused = Checkpoint(std::string(4 << 10, 'x'), compressed);
  EXPECT_TRUE(absl::IsUnimplemented(refused)) << refused;
  // It would die of a request without the message.
  types::CreateCheckpointRequest without;
  without.set_id(kId);
  EXPECT_TRUE(absl::IsInvalidArgument(client_->CreateCheckpoint(without).status()));
  EXPECT_TRUE(client_->GetServerVersion({}).ok());
}

TEST_F(RealContainerdTest, ItsDeathIsABrokenConnectionAndItsReturnIsFound) {
  ASSERT_TRUE(client_->GetServerVersion({}).ok());
  daemon_->Kill();
  CallOptions impatient;
  impatient.quiet_limit = std::chrono::milliseconds(500);
  EXPECT_TRUE(ConnectionBroken(client_->GetServerVersion({}, impatient).status()));
  StartContainerd();
  EXPECT_TRUE(client_->GetServerVersion({}).ok());
}

// Its ctr, a gRPC of 2016 in Go, against our server with the real shim.
class RealCtrTest : public SupervisorFixture {
 protected:
  void SetUp() override {
    if (OldPrograms().empty()) GTEST_SKIP() << "no ctr 0.2.9: tests/containerd-0.2.sh builds one";
    const std::string bin = STASIS_BIN;
    auto why = WhyNoContainers({OldPrograms() + "/ctr", bin + "/stasis-shim", bin + "/stasis-checkpointer",
                                STASIS_RUNC, STASIS_CRIU});
    if (why) GTEST_SKIP() << *why;
    SupervisorFixture::SetUp();
    server_.reset();
    options_.programs = {bin + "/stasis-shim", bin + "/stasis-checkpointer", STASIS_RUNC, STASIS_CRIU};
    StartServer();
    types::CreateContainerRequest request;
    request.set_id(kId);
    request.set_bundlepath(directory_->path() + "/bundle");
    ASSERT_TRUE(MakeBusyboxBundle(request.bundlepath(), kId, {"sleep", "1000"}).ok());
    auto created = client_->CreateContainer(request);
    ASSERT_TRUE(created.ok()) << created.status();
  }

  // What it prints, its errors included.
  std::string Ctr(std::vector<std::string> arguments) {
    Command command;
    command.argv = {OldPrograms() + "/ctr", "--address", "unix://" + options_.socket};
    command.argv.insert(command.argv.end(), arguments.begin(), arguments.end());
    command.env = BaseEnvironment();
    RunLimits limits;
    limits.deadline = After(std::chrono::seconds(60));
    auto result = stasis::Run(command, limits);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? result->output + result->error_tail : "";
  }
};

TEST_F(RealCtrTest, ListsPausesExecutesChecksPointsAndKills) {
  EXPECT_NE(Ctr({"version"}).find("0.2."), std::string::npos);
  EXPECT_NE(Ctr({"containers"}).find(kId), std::string::npos);
  EXPECT_EQ(Ctr({"containers", "pause", kId}), "");
  EXPECT_EQ(StateOf(kId).status(), "paused");
  EXPECT_EQ(Ctr({"containers", "resume", kId}), "");
  EXPECT_EQ(Ctr({"checkpoints", "create", kId, "cp1"}), "");
  EXPECT_NE(Ctr({"checkpoints", "list", kId}).find("cp1"), std::string::npos);
  EXPECT_NE(Ctr({"checkpoints", "create", kId, "cp1"}).find("exists"), std::string::npos);
  EXPECT_EQ(Ctr({"checkpoints", "delete", kId, "cp1"}), "");
  EXPECT_EQ(Ctr({"checkpoints", "list", kId}).find("cp1"), std::string::npos);
  EXPECT_NE(Ctr({"containers", "stats", kId}).find("cgroup_stats"), std::string::npos);
  EXPECT_EQ(Ctr({"containers", "kill", "--signal", "9", kId}), "");
  EXPECT_TRUE(Eventually([&] { return StateOf(kId).id().empty(); }));
}

}  // namespace
}  // namespace stasis::supervisor
