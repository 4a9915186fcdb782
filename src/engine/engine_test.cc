#include "engine/engine.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstring>

#include "engine/fake_supervisor.h"
#include "engine/leftovers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "layer/capture.h"
#include "linux/cgroup.h"
#include "linux/files.h"
#include "linux/mounts.h"
#include "linux/subprocess.h"
#include "manifest/checkpoint_directory.h"

namespace stasis::engine {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using Words = std::vector<std::string>;

// A tar with one directory, "bin".
std::string SmallTar() {
  std::string header(512, '\0');
  const auto put = [&](size_t at, const char* text) { header.replace(at, std::strlen(text), text); };
  put(0, "bin/");
  put(100, "0000755");
  put(108, "0000000");
  put(116, "0000000");
  put(124, "00000000000");
  put(136, "00000000000");
  put(148, "        ");
  put(156, "5");
  put(257, "ustar");
  put(263, "00");
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  char text[8];
  std::snprintf(text, sizeof(text), "%06o", sum & 0777777);
  header.replace(148, 7, text, 7);
  return header + std::string(1024, '\0');
}

backend::HostConfig RemovedAtTheEnd() {
  backend::HostConfig host_config;
  host_config.auto_remove = true;
  return host_config;
}

backend::HostConfig AlwaysRestarted() {
  backend::HostConfig host_config;
  host_config.restart_policy = "always";
  return host_config;
}

class EngineTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "mounting needs root";
    auto directory = TemporaryDirectory::Create("/var/tmp", "stasis-engine-test-");
    ASSERT_TRUE(directory.ok()) << directory.status();
    directory_.emplace(*std::move(directory));
    Up();
    ASSERT_TRUE(engine_);
    const auto image = Import({.reference = "small"});
    ASSERT_TRUE(image.ok()) << image.status();
  }
  StatusOr<std::string> Import(const backend::ImageImport& request) {
    std::string tar = SmallTar();
    const backend::ByteSource source = [&](char* out, size_t size) -> StatusOr<size_t> {
      size = std::min(size, tar.size());
      std::memcpy(out, tar.data(), size);
      tar.erase(0, size);
      return size;
    };
    return engine_->ImportImage(source, request, {});
  }
  void TearDown() override {
    if (!engine_) return;
    const auto left = engine_->List({.all = true, .filters = {}});
    ASSERT_TRUE(left.ok());
    for (const auto& one : *left) {
      EXPECT_TRUE(engine_->Remove(one.id, {.force = true}).ok());
    }
  }
  void Up() {
    auto engine =
        Engine::Open({.paths = {.root = directory_->path() + "/root", .state = directory_->path() + "/state"},
                      .version = "1",
                      .git_commit = {},
                      .build_time = {},
                      .runc = {},
                      .criu = {}},
                     std::make_unique<FakeSupervisor>(world_));
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    const Status started = engine_->Start(After(std::chrono::seconds(10)), {});
    ASSERT_TRUE(started.ok()) << started;
  }
  void Down() { engine_.reset(); }

  std::string Create(const std::string& name, const backend::HostConfig& host_config = {}) {
    backend::CreateRequest request;
    request.name = name;
    request.config.image = "small";
    request.config.cmd = Words{"/bin/serve"};
    request.host_config = host_config;
    const auto result = engine_->Create(request);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? result->id : "";
  }
  std::string Run(const std::string& name, const backend::HostConfig& host_config = {}) {
    std::string id = Create(name, host_config);
    const auto started = engine_->Start(id, {}, {});
    EXPECT_TRUE(started.ok()) << started.status();
    return id;
  }
  backend::ContainerState State(const std::string& id) { return engine_->Inspect(id, false)->state; }
  int Wait(const std::string& id, backend::WaitCondition condition = backend::WaitCondition::kNotRunning) {
    const auto result = engine_->Wait(id, condition, [] {}, {});
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? result->status_code : -1;
  }
  // Until so many of them have been.
  void WaitForEvents(const std::string& action, int count) {
    backend::EventQuery query;
    query.since = absl::UnixEpoch();
    query.filters = {{"event", {action}}};
    const Status enough =
        engine_->Events(query, [&](const auto&) { return --count > 0 ? Status() : Cancelled("enough"); }, {});
    EXPECT_EQ(enough.code(), StatusCode::kCancelled);
  }
  // A checkpoint that makes its directory, and ends the container where it was asked to.
  void CheckpointsSucceed() {
    world_->on_checkpoint = [this](const types::CreateCheckpointRequest& request, std::stop_token) {
      const std::string path = request.checkpointdir() + "/" + request.checkpoint().name();
      EXPECT_TRUE(MakeDirectories(path).ok());
      if (request.checkpoint().exit()) world_->End(request.id(), 137);
      return Status();
    };
  }

  // Checkpoints that hold the container's files, where they are to, and nothing else.
  void CheckpointsHoldFiles() {
    world_->on_checkpoint = [](const types::CreateCheckpointRequest& request, std::stop_token) -> Status {
      Manifest manifest;
      manifest.name = request.checkpoint().name();
      manifest.container_id = request.id();
      STASIS_ASSIGN_OR_RETURN(auto writer, store::Writer::Start(request.store()));
      if (!request.layer().empty()) {
        STASIS_ASSIGN_OR_RETURN(UniqueFd layer, OpenDirectory(request.layer()));
        layer::Capture capture(
            std::move(layer), writer.get(), [](uint64_t) { return Status(); },
            [] { return std::set<std::string>(); });
        STASIS_RETURN_IF_ERROR(capture.Finish({}));
        STASIS_RETURN_IF_ERROR(writer->Append(layer::ToText(capture.entries())));
        STASIS_ASSIGN_OR_RETURN(manifest.layer, writer->EndStream());
      }
      STASIS_RETURN_IF_ERROR(writer->Commit());
      const std::string path = request.checkpointdir() + "/" + request.checkpoint().name();
      STASIS_RETURN_IF_ERROR(MakeDirectories(path));
      return WriteManifest(path, manifest);
    };
  }
  // As `docker diff` has it, or the error.
  std::string Diff(const std::string& container, const backend::CheckpointDiff& request) {
    const auto changes = engine_->DiffCheckpoint(container, request, {});
    if (!changes.ok()) return Message(changes.status());
    std::string text;
    for (const backend::FileChange& change : *changes)
      text += std::string(1, "CAD"[static_cast<int>(change.kind)]) + " " + change.path + "\n";
    return text;
  }

  std::optional<TemporaryDirectory> directory_;
  std::shared_ptr<FakeWorld> world_ = std::make_shared<FakeWorld>();
  std::unique_ptr<Engine> engine_;
};

TEST_F(EngineTest, ARunsExitIsRecordedAndToldToWhoWaits) {
  const std::string id = Run("web");
  EXPECT_EQ(State("web").status, "running");
  world_->End(id, 3);
  EXPECT_EQ(Wait("web"), 3);
  EXPECT_EQ(State("web").status, "exited");
  EXPECT_EQ(State("web").exit_code, 3);
  EXPECT_EQ(*engine_->Start("web", {}, {}), backend::Change::kDone);
  EXPECT_EQ(*engine_->Start("web", {}, {}), backend::Change::kAlreadySo);
}

TEST_F(EngineTest, AnExitBeforeTheStartIsRecordedIsNotLost) {
  world_->ends_at_once = true;
  const std::string id = Run("web");
  EXPECT_EQ(Wait(id), 0);
  EXPECT_EQ(State(id).status, "exited");
}

TEST_F(EngineTest, AnImageOfAnotherPlatformIsNotTheOneThatIsAskedFor) {
  const std::string native = oci::FormatPlatform(oci::NativePlatform());
  const std::string other = native == "linux/s390x" ? "linux/riscv64" : "linux/s390x";
  ASSERT_TRUE(Import({.reference = "foreign", .platform = other}).ok());
  backend::CreateRequest request;
  request.config.cmd = Words{"/bin/serve"};
  const auto create = [&](const std::string& image, const std::string& platform) {
    request.config.image = image;
    request.platform = platform;
    return engine_->Create(request);
  };
  EXPECT_THAT(create("small", "")->warnings, IsEmpty());
  EXPECT_THAT(create("small", native)->warnings, IsEmpty());
  EXPECT_THAT(create("foreign", other)->warnings, IsEmpty());
  EXPECT_EQ(create("foreign", "")->warnings, Words{"The requested image's platform (" + other +
                                                   ") does not match the detected host platform (" + native +
                                                   ") and no specific platform was requested"});
  const Status refused = create("small", other).status();
  EXPECT_TRUE(absl::IsNotFound(refused));
  EXPECT_EQ(Message(refused), "image with reference small was found but its platform (" + native +
                                  ") does not match the specified platform (" + other + ")");
  EXPECT_TRUE(absl::IsInvalidArgument(create("small", "linux/").status()));
  EXPECT_EQ(Message(create("nosuch", other).status()), "No such image: nosuch:latest");
}

TEST_F(EngineTest, AnImportIsForThePlatformThatIsAskedFor) {
  ASSERT_TRUE(Import({.reference = "arm", .platform = "linux/arm64/v8"}).ok());
  const auto details = engine_->InspectImage("arm");
  ASSERT_TRUE(details.ok());
  EXPECT_EQ(details->os + "/" + details->architecture + "/" + details->variant, "linux/arm64/v8");
  EXPECT_EQ(Message(Import({.platform = "windows/amd64"}).status()), "operating system is not supported");
  EXPECT_TRUE(absl::IsInvalidArgument(Import({.platform = "amd65"}).status()));
}

TEST_F(EngineTest, AFailedStartLeavesTheContainerAsItWasAndSaysWhy) {
  const std::string id = Create("web");
  world_->run_status = Internal("exec: \"serve\": executable file not found in $PATH");
  const auto started = engine_->Start(id, {}, {});
  EXPECT_EQ(started.status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(State(id).status, "created");
  EXPECT_EQ(State(id).exit_code, 127);
  EXPECT_THAT(State(id).error, HasSubstr("executable file not found"));
  EXPECT_FALSE(world_->Has(id));
}

TEST_F(EngineTest, RmTakesItAwayWhenItEnds) {
  const std::string id = Run("web", RemovedAtTheEnd());
  world_->End(id, 0);
  Wait(id, backend::WaitCondition::kRemoved);
  EXPECT_EQ(engine_->Inspect(id, false).status().code(), StatusCode::kNotFound);
}

TEST_F(EngineTest, TheRestartPolicyRunsItAgainUntilTheUserStopsIt) {
  const std::string id = Run("web", AlwaysRestarted());
  world_->End(id, 1);
  WaitForEvents("start", 2);
  EXPECT_EQ(engine_->Inspect(id, false)->restart_count, 1);
  EXPECT_TRUE(engine_->Stop(id, {}, {}).ok());
  EXPECT_EQ(State(id).status, "exited");
  EXPECT_EQ(State(id).exit_code, 143);
  EXPECT_EQ(*engine_->Stop(id, {}, {}), backend::Change::kAlreadySo);
}

TEST_F(EngineTest, AKillOfOneThatWaitsForItsRestartPolicyCallsThatOff) {
  const std::string id = Run("web", AlwaysRestarted());
  int starts = 1;
  for (; starts < 4; ++starts) {  // each pause is twice as long as the one before
    world_->End(id, 1);
    WaitForEvents("start", starts + 1);
  }
  world_->End(id, 1);
  while (!State(id).restarting) ::usleep(1000);
  EXPECT_TRUE(engine_->Kill(id, "USR1", {}).ok());
  EXPECT_TRUE(State(id).restarting);
  EXPECT_TRUE(engine_->Kill(id, "KILL", {}).ok());
  EXPECT_EQ(State(id).status, "exited");
  EXPECT_EQ(State(id).exit_code, 1);
  EXPECT_EQ(*engine_->Stop(id, {}, {}), backend::Change::kAlreadySo);
  EXPECT_THAT(Message(engine_->Kill(id, "KILL", {})), HasSubstr("is not running"));
  EXPECT_EQ(world_->runs(), starts);
}

TEST_F(EngineTest, AKillIsAnsweredWhenTheContainerHasEnded) {
  const std::string id = Run("web");
  world_->ends_when_killed = false;
  std::jthread ender([&] {
    WaitForEvents("kill", 1);
    world_->End(id, 137);
  });
  EXPECT_TRUE(engine_->Kill(id, "KILL", {}).ok());
  EXPECT_EQ(State(id).status, "exited");
  EXPECT_TRUE(engine_->Remove(id, {}).ok());
}

TEST_F(EngineTest, WithRmAFailedStartLeavesNoContainer) {
  const std::string id = Create("web", RemovedAtTheEnd());
  world_->run_status = Internal("exec: \"serve\": executable file not found in $PATH");
  EXPECT_EQ(engine_->Start(id, {}, {}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(engine_->Inspect(id, false).status().code(), StatusCode::kNotFound);
  world_->run_status = {};
  Create("web");
}

TEST_F(EngineTest, StopKillsWhatDoesNotHeedTheSignal) {
  const std::string id = Run("web");
  world_->obeys_sigterm = false;
  EXPECT_TRUE(engine_->Stop(id, {"", 0}, {}).ok());
  EXPECT_EQ(State(id).exit_code, 137);
}

TEST_F(EngineTest, ACheckpointWithExitCountsAsTheUsersStop) {
  CheckpointsSucceed();
  const std::string id = Run("web", RemovedAtTheEnd());
  const std::string other = Run("other", AlwaysRestarted());
  for (const std::string& one : {id, other}) {
    const auto made = engine_->CreateCheckpoint(one, {.name = "cp1", .directory = {}, .exit = true}, {});
    ASSERT_TRUE(made.ok()) << made.status();
    EXPECT_EQ(State(one).status, "exited");
    EXPECT_EQ(State(one).exit_code, 137);
  }
  EXPECT_EQ(world_->runs(), 2);
  EXPECT_EQ(engine_->CreateCheckpoint(id, {.name = "cp2", .directory = {}}, {}).status().message(),
            "Container " + id + " not running");
}

TEST_F(EngineTest, WhileACheckpointIsMadeTheRestAnswersAndAKillCancelsIt) {
  const std::string id = Run("web");
  std::mutex mutex;
  std::condition_variable_any reached;
  bool inside = false;
  world_->on_checkpoint = [&](const types::CreateCheckpointRequest&, std::stop_token cancel) {
    std::unique_lock lock(mutex);
    inside = true;
    reached.notify_all();
    reached.wait(lock, cancel, [] { return false; });
    return Cancelled("cancelled");
  };
  Status made;
  std::jthread maker(
      [&] { made = engine_->CreateCheckpoint("web", {.name = "cp1", .directory = {}}, {}).status(); });
  {
    std::unique_lock lock(mutex);
    reached.wait(lock, [&] { return inside; });
  }
  EXPECT_EQ(State(id).status, "running");
  EXPECT_EQ(engine_->CreateCheckpoint("web", {.name = "cp2", .directory = {}}, {}).status().code(),
            StatusCode::kFailedPrecondition);
  EXPECT_TRUE(engine_->Kill("web", "KILL", {}).ok());
  maker.join();
  EXPECT_THAT(Message(made), HasSubstr("Cannot checkpoint container web: "));
  EXPECT_EQ(Wait(id), 137);
}

TEST_F(EngineTest, FilesAreComparedWithACheckpointsAndTwoCheckpoints) {
  CheckpointsHoldFiles();
  const std::string root = directory_->path() + "/root/images/roots/" + Run("web") + "/merged";
  ASSERT_TRUE(WriteFileAtomically(root + "/old", "1").ok());
  ASSERT_TRUE(WriteFileAtomically(root + "/changed", "2").ok());
  ASSERT_TRUE(engine_->CreateCheckpoint("web", {.name = "cp1", .directory = {}}, {}).ok());
  EXPECT_EQ(Diff("web", {"cp1", "", ""}), "");
  ASSERT_TRUE(RemoveTree(root + "/old").ok());
  ASSERT_TRUE(WriteFileAtomically(root + "/changed", "other").ok());
  ASSERT_TRUE(WriteFileAtomically(root + "/bin/new", "").ok());
  const std::string difference = "C /bin\nA /bin/new\nC /changed\nD /old\n";
  EXPECT_EQ(Diff("web", {"cp1", "", ""}), difference);
  ASSERT_TRUE(engine_->CreateCheckpoint("web", {.name = "cp2", .directory = {}}, {}).ok());
  ASSERT_TRUE(RemoveTree(root + "/bin").ok());
  EXPECT_EQ(Diff("web", {"cp1", "cp2", ""}), difference);
  EXPECT_EQ(Diff("web", {"cp2", "cp1", ""}), "C /bin\nD /bin/new\nC /changed\nA /old\n");
  EXPECT_EQ(Diff("web", {"cp2", "", ""}), "D /bin\n") << "it is the image's";
  EXPECT_EQ(Diff("web", {"cp1", "cp9", ""}), "checkpoint cp9 does not exist for container web");
  EXPECT_EQ(Diff("web", {"cp9", "", ""}), "checkpoint cp9 does not exist for container web");
  EXPECT_EQ(Diff("web", {"cp1", "", directory_->path() + "/none"}),
            "checkpoint cp1 does not exist for container web");
  EXPECT_THAT(Diff("web", {"../cp1", "", ""}), HasSubstr("Invalid checkpoint ID (../cp1)"));
  EXPECT_EQ(Diff("nobody", {"cp1", "", ""}), "No such container: nobody");
}

// One file of a container that runs: what it holds is what is tested.
class UndoTest : public EngineTest {
 protected:
  void SetUp() override {
    EngineTest::SetUp();
    if (!engine_) return;
    CheckpointsHoldFiles();
    id_ = Run("web");
    Write("first");
    ASSERT_TRUE(engine_->CreateCheckpoint("web", {.name = "cp1", .directory = {}}, {}).ok());
  }
  std::string Roots() const { return directory_->path() + "/root/images/roots/" + id_; }
  void Write(const std::string& text) {
    ASSERT_TRUE(WriteFileAtomically(Roots() + "/merged/file", text).ok());
  }
  std::string Read() { return ReadFile(Roots() + "/upper/file").value_or("none"); }
  void Stop() { ASSERT_TRUE(engine_->Stop("web", {}, {}).ok()); }
  // Stops it and goes back to cp1; the name under which what it had is kept.
  std::string Restore() {
    Stop();
    std::string kept;
    backend::StartOptions options{"cp1", ""};
    options.on_files_kept = [&](const std::string& name) { kept = name; };
    const auto started = engine_->Start("web", options, {});
    EXPECT_TRUE(started.ok()) << started.status();
    EXPECT_EQ(Read(), "first");
    return kept;
  }
  std::vector<std::string> Kept() {
    std::vector<std::string> names;
    const auto all = engine_->ListAllCheckpoints("");
    EXPECT_TRUE(all.ok()) << all.status();
    if (!all.ok()) return names;
    for (const backend::CheckpointSummary& one : *all) {
      if (one.files_only) names.push_back(one.name);
    }
    return names;
  }
  void WaitForKept(size_t count) {
    const Deadline deadline = After(std::chrono::seconds(20));
    std::mutex mutex;
    std::unique_lock lock(mutex);
    std::condition_variable polled;
    while (Kept().size() != count) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << Kept().size() << " are kept";
      polled.wait_for(lock, std::chrono::milliseconds(20));
    }
  }
  std::string id_;
};

TEST_F(UndoTest, TheFilesThatTwoRestoresReplacedComeBack) {
  Write("second");
  const std::string second = Restore();
  Write("third");
  const std::string third = Restore();
  ASSERT_NE(second, third);
  EXPECT_EQ(Message(engine_->UndoRestore("web", "", {}).status()),
            "container web is running: stop it before its files are replaced");
  Stop();
  const auto undone = engine_->UndoRestore("web", "", {});
  ASSERT_TRUE(undone.ok()) << undone.status();
  EXPECT_EQ(undone->restored, third);
  EXPECT_EQ(Read(), "third");
  EXPECT_THAT(Kept(), testing::UnorderedElementsAre(second, undone->kept));
  // It is undone as well, and older ones go by their names.
  ASSERT_TRUE(engine_->UndoRestore("web", "", {}).ok());
  EXPECT_EQ(Read(), "first");
  ASSERT_TRUE(engine_->UndoRestore("web", second, {}).ok());
  EXPECT_EQ(Read(), "second");
  EXPECT_THAT(*ListDirectory(Roots()), testing::UnorderedElementsAre("layers", "merged", "upper", "work"));
  EXPECT_EQ(Message(engine_->UndoRestore("web", "none", {}).status()),
            "no files of container web are kept as none");
}

TEST_F(UndoTest, TheLastThreeAreKept) {
  Stop();
  EXPECT_EQ(Message(engine_->UndoRestore("web", "", {}).status()),
            "no restore has replaced files of container web");
  std::vector<std::string> names;
  for (const char* text : {"a", "b", "c", "d"}) {
    Write(text);
    names.push_back(Restore());
  }
  Stop();
  ASSERT_TRUE(engine_->UndoRestore("web", names[1], {}).ok());
  EXPECT_EQ(Read(), "b");
  EXPECT_THAT(Kept(), SizeIs(3));
  EXPECT_EQ(Diff("web", {names[2], names[3], ""}), "C /file\n");
  EXPECT_TRUE(engine_->VerifyCheckpoints("", {}, {})->damaged.empty());
  ASSERT_TRUE(engine_->DeleteCheckpoint("web", names[2], "").ok());
  EXPECT_THAT(Kept(), SizeIs(2));
}

TEST_F(UndoTest, WhatAnEngineThatDiedHadSetAsideIsTakenByTheNext) {
  Write("second");
  const std::string second = Restore();
  Down();  // before the half second is over, in which nothing is read
  Up();
  WaitForKept(1);
  EXPECT_THAT(Kept(), testing::ElementsAre(second));
  Stop();
  ASSERT_TRUE(engine_->UndoRestore("web", "", {}).ok());
  EXPECT_EQ(Read(), "second");
}

TEST_F(UndoTest, ARemovalTakesThemAndTheirSpace) {
  Write("second");
  Restore();
  WaitForKept(1);
  ASSERT_TRUE(engine_->Remove("web", {.force = true}).ok());
  EXPECT_THAT(Kept(), IsEmpty());
  EXPECT_FALSE(Exists(Roots()));
  ASSERT_TRUE(engine_->PruneCheckpoints("", {}, {}).ok());
  EXPECT_FALSE(Exists(directory_->path() + "/root/checkpoint-store/packs"));
}

TEST_F(EngineTest, ACheckpointWithoutFilesHasNothingToCompare) {
  CheckpointsHoldFiles();
  backend::CreateRequest request;
  request.name = "web";
  request.config.image = "small";
  request.config.cmd = Words{"/bin/serve"};
  request.config.labels["stasis.checkpoint.files"] = "no";
  ASSERT_TRUE(engine_->Create(request).ok());
  ASSERT_TRUE(engine_->Start("web", {}, {}).ok());
  ASSERT_TRUE(engine_->CreateCheckpoint("web", {.name = "cp1", .directory = {}}, {}).ok());
  const auto refused = engine_->DiffCheckpoint("web", {"cp1", "", ""}, {});
  EXPECT_EQ(refused.status().code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(Message(refused.status()), HasSubstr("stasis.checkpoint.files=no"));
}

TEST_F(EngineTest, TheWarningsOfACheckpointAreInTheAnswerAndInTheEvent) {
  CheckpointsSucceed();
  Run("web");
  const absl::Time before = absl::Now();
  ASSERT_THAT(engine_->CreateCheckpoint("web", {.name = "cp1", .directory = {}}, {})->warnings, IsEmpty());
  world_->checkpoint_warnings = {"a is lost", "b is lost"};
  const auto made = engine_->CreateCheckpoint("web", {.name = "cp2", .directory = {}}, {});
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->warnings, world_->checkpoint_warnings);
  std::vector<std::string> told;
  const backend::EventQuery query = {.since = before, .until = absl::Now(), .filters = {}};
  const auto take = [&](const backend::EventMessage& event) -> Status {
    if (event.action != "checkpoint") return {};
    const auto found = event.attributes.find("warnings");
    told.push_back(found == event.attributes.end() ? "none" : found->second);
    return {};
  };
  ASSERT_TRUE(engine_->Events(query, take, {}).ok());
  EXPECT_EQ(told, (std::vector<std::string>{"none", "a is lost; b is lost"}));
}

TEST_F(EngineTest, NamesAndDirectoriesOfCheckpointsAreChecked) {
  CheckpointsSucceed();
  Run("web");
  const auto create = [&](const std::string& name, const std::string& directory) {
    return Message(engine_->CreateCheckpoint("web", {.name = name, .directory = directory}, {}).status());
  };
  EXPECT_THAT(create("../x", ""), HasSubstr("Invalid checkpoint ID (../x), only "));
  EXPECT_THAT(create("cp1", "relative"), HasSubstr("must be an absolute path"));
  EXPECT_THAT(create("cp1", directory_->path() + "/x/../root/y"), HasSubstr("it is the engine's own"));
  EXPECT_EQ(create("cp1", ""), "");
  EXPECT_EQ(create("cp1", ""), "checkpoint with name cp1 already exists for container web");
  EXPECT_EQ(create("cp1", directory_->path() + "/elsewhere"), "");
  EXPECT_TRUE(Exists(directory_->path() + "/elsewhere/cp1"));
  EXPECT_EQ(Message(engine_->DeleteCheckpoint("web", "cp9", "")),
            "checkpoint cp9 does not exist for container web");
  EXPECT_EQ(engine_->CreateCheckpoint("nobody", {.name = "cp1", .directory = {}}, {}).status().message(),
            "No such container: nobody");
  EXPECT_EQ(Message(engine_->Start("web", {"cp1", ""}, {}).status()), "Container web is already running");
}

TEST_F(EngineTest, WhatEndedWhileTheEngineWasAwayIsFoundWithItsExitCode) {
  const std::string runs = Run("runs");
  const std::string ended = Run("ended");
  const std::string lost = Run("lost");
  Down();
  world_->End(ended, 5);
  world_->Lose(lost);
  Up();
  EXPECT_EQ(State(runs).status, "running");
  EXPECT_EQ(State(ended).status, "exited");
  EXPECT_EQ(State(ended).exit_code, 5);
  EXPECT_EQ(State(lost).exit_code, 255);
  EXPECT_EQ(State(lost).error, "its shim is gone");
}

// A process in the container's cgroup, which its supervisor may know nothing of.
class Leftover {
 public:
  explicit Leftover(const std::string& id)
      : group_(*Cgroup::Open(CgroupPath(*ContainerId::Parse(id)))),
        made_(MakeDirectories(group_.FreezerDirectory()).ok()),
        child_(*Spawn({.argv = {"/bin/sleep", "1000"},
                       .env = BaseEnvironment(),
                       .cgroup_procs_files = {group_.FreezerDirectory() + "/cgroup.procs"}})) {}
  ~Leftover() {
    group_.KillAll(After(std::chrono::seconds(10))).IgnoreError();
    group_.Remove().IgnoreError();
  }
  const Cgroup& group() const { return group_; }
  bool Ended() const { return child_.process().Ended(); }
  bool GroupIsThere() const { return Exists(group_.FreezerDirectory()); }

 private:
  Cgroup group_;
  bool made_;
  Child child_;
};

TEST_F(EngineTest, ProcessesOfALostContainerAreEndedFrozenOnesToo) {
  const std::string lost = Run("lost");
  const std::string frozen = Run("frozen");
  const std::string runs = Run("runs");
  const Leftover of_lost(lost), of_frozen(frozen), of_runs(runs);
  ASSERT_TRUE(of_frozen.group().Freeze(After(std::chrono::seconds(10)), {}).ok());
  Down();
  world_->Lose(lost);
  world_->Lose(frozen);
  Up();
  EXPECT_TRUE(of_lost.Ended());
  EXPECT_FALSE(of_lost.GroupIsThere());
  EXPECT_TRUE(of_frozen.Ended());
  EXPECT_FALSE(of_frozen.GroupIsThere());
  EXPECT_EQ(State(lost).status, "exited");
  EXPECT_FALSE(of_runs.Ended()) << "the supervisor has that container";
  EXPECT_EQ(State(runs).status, "running");
}

TEST_F(EngineTest, AStartEndsWhatIsLeftOfARunBeforeIt) {
  const std::string id = Run("web");
  world_->End(id, 0);
  Wait(id);
  const Leftover left(id);
  EXPECT_TRUE(engine_->Start(id, {}, {}).ok());
  EXPECT_TRUE(left.Ended());
}

TEST_F(EngineTest, RemovalIsRefusedInDockersWordsAndForceKills) {
  const std::string id = Run("web");
  EXPECT_EQ(Message(engine_->Remove("web", {})),
            "cannot remove container \"/web\": container is running: stop the container before removing or "
            "force remove");
  EXPECT_TRUE(engine_->Remove("web", {.force = true}).ok());
  EXPECT_FALSE(world_->Has(id));
  EXPECT_THAT(*engine_->List({.all = true, .filters = {}}), IsEmpty());
  EXPECT_FALSE(Exists(directory_->path() + "/root/containers/" + id));
  EXPECT_FALSE(Exists(directory_->path() + "/state/netns/" + id));
}

TEST_F(EngineTest, APausedContainerIsPausedUntilItIsNot) {
  Run("web");
  EXPECT_TRUE(engine_->Pause("web").ok());
  EXPECT_TRUE(State("web").paused);
  EXPECT_EQ(engine_->Pause("web").code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(
      engine_->CreateExec("web", {.cmd = {"true"}, .env = {}, .user = {}, .working_dir = {}}).status().code(),
      StatusCode::kFailedPrecondition);
  EXPECT_TRUE(engine_->Unpause("web").ok());
  EXPECT_FALSE(State("web").paused);
}

TEST_F(EngineTest, ANameBelongsToOneAndMayBeChanged) {
  Create("web");
  backend::CreateRequest request;
  request.name = "web";
  request.config.image = "small";
  request.config.cmd = Words{"true"};
  EXPECT_EQ(engine_->Create(request).status().code(), StatusCode::kAlreadyExists);
  EXPECT_TRUE(engine_->Rename("web", "front").ok());
  EXPECT_TRUE(engine_->Create(request).ok());
  EXPECT_THAT(*engine_->List({.all = true, .filters = {}}), SizeIs(2));
}

TEST_F(EngineTest, AnUnreadableRecordKeepsNothingElseFromStarting) {
  const std::string web = Create("web"), db = Create("db");
  Down();
  {
    auto database = *Database::Open(directory_->path() + "/root/stasis.db", {""});
    const Status torn = database->Run([](Transaction& transaction) {
      return transaction.Execute(
          "UPDATE containers SET record = 'torn{' WHERE name = 'db';"
          "UPDATE containers SET record = replace(record, '\"Memory\":0', '\"Memory\":1')"
          " WHERE name = 'web'");
    });
    ASSERT_TRUE(torn.ok()) << torn;
    ASSERT_TRUE(
        WriteFileDurably(directory_->path() + "/root/containers/" + db + "/record.json", "torn").ok());
  }
  Up();
  EXPECT_EQ(engine_->Inspect(web, false)->host_config.memory, 1);
  EXPECT_TRUE(engine_->Start(web, {}, {}).ok());
  const auto dead = *engine_->Inspect("db", false);
  EXPECT_EQ(dead.state.status, "dead");
  EXPECT_THAT(dead.state.error, HasSubstr("cannot be read"));
  EXPECT_THAT(Message(engine_->Start("db", {}, {}).status()), HasSubstr("cannot be read"));
  EXPECT_THAT(Message(engine_->Rename("db", "other")), HasSubstr("cannot be read"));
  EXPECT_THAT(*engine_->List({.all = true, .filters = {}}), SizeIs(2));
  EXPECT_TRUE(engine_->Remove("db", {}).ok());
  EXPECT_THAT(*engine_->List({.all = true, .filters = {}}), SizeIs(1));
}

TEST_F(EngineTest, ContainersThatNoRecordNamesAreAdopted) {
  CheckpointsSucceed();
  const std::string web = Run("web", RemovedAtTheEnd()), db = Create("db"), gone = Create("gone");
  ASSERT_TRUE(engine_->CreateCheckpoint("web", {.name = "cp1", .directory = {}, .exit = true}, {}).ok());
  ASSERT_TRUE(engine_->Rename("db", "store").ok());
  ASSERT_TRUE(engine_->Remove("gone", {}).ok());
  Down();
  const std::string root = directory_->path() + "/root";
  for (const char* suffix : {"", "-wal"}) ASSERT_TRUE(RemoveTree(root + "/stasis.db" + suffix).ok());
  // A container of which nothing is left but the directory, and one that was being made.
  const std::string lost(64, 'e');
  ASSERT_TRUE(MakeDirectories(root + "/containers/" + lost + "/bundle").ok());
  ASSERT_TRUE(MakeDirectories(root + "/containers/.aside-123456").ok());
  for (int start = 0; start < 2; ++start) {
    Up();
    EXPECT_THAT(*engine_->List({.all = true, .filters = {}}), SizeIs(3));
    EXPECT_EQ(engine_->Inspect("web", false)->id, web);
    EXPECT_EQ(State("web").status, "exited");
    EXPECT_THAT(State("web").error, HasSubstr("adopted"));
    EXPECT_TRUE(Exists(root + "/containers/" + web + "/checkpoints/cp1"));
    EXPECT_EQ(engine_->Inspect("store", false)->id, db);
    EXPECT_EQ(State("store").status, "created");
    EXPECT_EQ(State(lost).status, "dead");
    EXPECT_THAT(State(lost).error, HasSubstr("record.json"));
    EXPECT_THAT(*ListDirectory(root + "/containers"), SizeIs(3));
    Down();
  }
  Up();
  EXPECT_TRUE(engine_->Start("store", {}, {}).ok());
  EXPECT_TRUE(engine_->Remove(lost, {}).ok());
  Down();
  Up();
  EXPECT_EQ(State("store").status, "running");
  EXPECT_THAT(*engine_->List({.all = true, .filters = {}}), SizeIs(2));
}

TEST_F(EngineTest, AnUnreadableRecordIsReplacedByThatOfTheDirectory) {
  const std::string web = Run("web");
  Down();
  {
    auto database = *Database::Open(directory_->path() + "/root/stasis.db", {""});
    ASSERT_TRUE(
        database->Run([](Transaction& t) { return t.Execute("UPDATE containers SET record = '{'"); }).ok());
  }
  Up();
  EXPECT_EQ(State(web).status, "running");  // the supervisor has it
  EXPECT_EQ(engine_->Inspect("web", false)->path, "/bin/serve");
}

TEST_F(EngineTest, ARemovalThatWasDecidedIsFinished) {
  const std::string web = Create("web");
  const std::string containers = directory_->path() + "/root/containers/";
  Down();
  ASSERT_EQ(::rename((containers + web).c_str(), (containers + ".removed-" + web).c_str()), 0);
  ASSERT_TRUE(MakeDirectories(containers + ".removed-" + std::string(64, 'd')).ok());
  Up();
  for (int i = 0; i < 1000 && !ListDirectory(containers)->empty(); ++i) ::usleep(10000);
  EXPECT_THAT(*ListDirectory(containers), IsEmpty());
  EXPECT_THAT(*engine_->List({.all = true, .filters = {}}), IsEmpty());
}

TEST_F(EngineTest, ADamagedDatabaseIsNamedAndMadeAnewWhenAskedTo) {
  Create("web");
  Down();
  const std::string root = directory_->path() + "/root", file = root + "/stasis.db";
  std::string bytes = *ReadFile(file);
  for (size_t at = 4096; at < bytes.size(); ++at)
    bytes[at] = static_cast<char>(at);  // all but the first page
  ASSERT_TRUE(WriteFileDurably(file, bytes).ok());
  EngineOptions options{.paths = {.root = root, .state = directory_->path() + "/state"},
                        .version = "1",
                        .git_commit = {},
                        .build_time = {},
                        .runc = {},
                        .criu = {}};
  const Status refused = Engine::Open(options, std::make_unique<FakeSupervisor>(world_)).status();
  EXPECT_EQ(refused.code(), StatusCode::kDataLoss);
  EXPECT_THAT(Message(refused), HasSubstr(file));
  EXPECT_THAT(Message(refused), HasSubstr("--recover"));
  options.recover = true;
  engine_ = *Engine::Open(options, std::make_unique<FakeSupervisor>(world_));
  EXPECT_EQ(State("web").status, "created");
  const std::vector<std::string> names = *ListDirectory(root);
  EXPECT_THAT(names, testing::Contains(testing::StartsWith("stasis.db.damaged-")));
}

TEST_F(EngineTest, OnAFullDiskContainersAreEndedAndThawedAndItIsRecordedLater) {
  Down();
  const std::string root = directory_->path() + "/root";
  ASSERT_TRUE(RemoveTree(root).ok());
  ASSERT_TRUE(MakeDirectories(root).ok());
  ASSERT_TRUE(Mount("tmpfs", root, "tmpfs", 0, "size=4m").ok());
  Up();
  ASSERT_TRUE(Import({.reference = "small"}).ok());
  const std::string paused = Run("paused"), killed = Run("killed"), ended = Run("ended", RemovedAtTheEnd());
  const std::string removed = Run("removed"), policy = Run("policy", AlwaysRestarted());
  // Full for the database too, which has room in its log for a while.
  std::string filler(1 << 12, 'x');
  UniqueFd full = *OpenFile(root + "/full", O_WRONLY | O_CREAT, 0600);
  const auto fill = [&] {
    while (WriteAll(full.get(), filler).ok()) {
    }
  };
  fill();
  Status refused;
  for (int i = 0; i < 2000 && refused.ok(); ++i) {
    refused = engine_->Rename(i % 2 == 0 ? "killed" : "killed2", i % 2 == 0 ? "killed2" : "killed");
    fill();
  }
  EXPECT_EQ(refused.code(), StatusCode::kResourceExhausted) << refused;
  EXPECT_EQ(engine_->Pause("paused"), Status());
  EXPECT_EQ(State(paused).status, "paused");
  EXPECT_EQ(engine_->Unpause("paused"), Status());
  EXPECT_EQ(engine_->Pause("paused"), Status());
  EXPECT_EQ(engine_->Kill(killed, "KILL", {}), Status());
  EXPECT_EQ(Wait(killed), 137);
  world_->End(ended, 0);
  Wait(ended, backend::WaitCondition::kRemoved);
  EXPECT_EQ(engine_->Remove("removed", {.force = true}), Status());
  EXPECT_EQ(engine_->Stop("paused", {}, {}).status(), Status());
  fill();
  world_->End(policy, 3);  // its restart needs the disk
  full = UniqueFd();
  Down();
  Up();  // on the full disk
  for (int i = 0; i < 1000 && engine_->List({.all = true, .filters = {}})->size() > 3; ++i) ::usleep(10000);
  EXPECT_THAT(*engine_->List({.all = true, .filters = {}}), SizeIs(3));
  ASSERT_TRUE(RemoveTree(root + "/full").ok());
  for (int i = 0; i < 1000 && State(policy).status != "running"; ++i) ::usleep(10000);
  EXPECT_EQ(State(policy).status, "running");
  EXPECT_EQ(State(killed).exit_code, 137);
  EXPECT_EQ(State(paused).status, "exited");
  for (const std::string& id : {paused, killed, policy})
    EXPECT_TRUE(engine_->Remove(id, {.force = true}).ok());
  Down();
  EXPECT_TRUE(UnmountBelow(root).ok());
}

TEST_F(EngineTest, EndedContainersWhoseCheckpointIsUnderWayStopNoOthers) {
  std::atomic<int> inside = 0;
  std::stop_source enough;
  world_->on_checkpoint = [&](const types::CreateCheckpointRequest& request, std::stop_token) {
    world_->End(request.id(), 137);
    ++inside;
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock lock(mutex);
    never.wait(lock, enough.get_token(), [] { return false; });
    return Status();
  };
  std::vector<std::jthread> makers;
  for (int i = 0; i < 6; ++i) {
    const std::string name = "c" + std::to_string(i);
    Run(name);
    makers.emplace_back([this, name] {
      (void)engine_->CreateCheckpoint(name, {.name = "cp1", .directory = {}, .exit = true}, {});
    });
  }
  while (inside < 6) ::usleep(1000);
  const std::string other = Run("other", RemovedAtTheEnd());
  world_->End(other, 0);
  std::stop_source late;
  std::jthread clock([&](std::stop_token over) {
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock lock(mutex);
    if (!never.wait_for(lock, over, std::chrono::seconds(20), [] { return false; }) && !over.stop_requested())
      late.request_stop();
  });
  EXPECT_TRUE(engine_
                  ->Wait(
                      other, backend::WaitCondition::kRemoved, [] {}, late.get_token())
                  .ok());
  enough.request_stop();
}

}  // namespace
}  // namespace stasis::engine
