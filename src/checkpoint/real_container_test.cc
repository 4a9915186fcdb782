#include "checkpoint/real_container_test.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>

#include "checkpoint/server.h"
#include "criu/log.h"
#include "linux/cancel.h"
#include "linux/namespaces.h"
#include "linux/random_hex.h"
#include "linux/traced_thread.h"
#include "linux/unix_socket.h"
#include "protocol/journal.h"

namespace stasis::checkpoint {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr char kCount[] = "; i=0; while :; do i=$((i+1)); echo $i > $n; sleep 0.02; done";

// Waits for something that another process brings about, and that tells nobody.
bool Eventually(const std::function<bool()>& done, milliseconds limit) {
  Deadline deadline = After(limit);
  while (!done()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(milliseconds(10));
  }
  return true;
}

}  // namespace

void RealContainerTest::SetUp() {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  ASSERT_TRUE(BlockChildSignals().ok());
  for (const char* program : {STASIS_CRIU, STASIS_RUNC, "/bin/busybox"}) {
    if (!Exists(program)) GTEST_SKIP() << program << " is not there";
  }
  id_ = "test-" + RandomHex(6);
  base_ = "/var/tmp/stasis-" + id_;
  bundle_ = base_ + "/bundle";
  checkpoints_ = base_ + "/checkpoints";
  shim_ = base_ + "/shim";
  network_ = base_ + "/network";
  ASSERT_TRUE(MakeDirectories(bundle_ + "/rootfs", 0755).ok());  // some containers are of another user
  ASSERT_TRUE(MakeDirectories(shim_).ok());
  if (Status status = MakeNetworkNamespace(network_); !status.ok()) GTEST_SKIP() << status;
  Json config = {{"runtime_root", base_ + "/runc"}};
  ASSERT_TRUE(WriteFileAtomically(shim_ + "/config.json", DumpJson(config)).ok());
  Serve();
}

void RealContainerTest::TearDown() {
  if (base_.empty()) return;
  if (caller_) HangUp();
  if (Exists(base_ + "/runc")) Runc({"delete", "--force", id_});
  EXPECT_TRUE(RemoveNetworkNamespace(network_).ok());
  EXPECT_TRUE(RemoveTree(base_).ok());
}

void RealContainerTest::Serve() {
  auto pair = MakeSocketPair();
  ASSERT_TRUE(pair.ok()) << pair.status();
  caller_.emplace(std::move(pair->first));
  server_.emplace([connection = std::move(pair->second)]() mutable {
    static_cast<void>(checkpoint::Serve(std::move(connection), STASIS_PRELOAD));
  });
}

void RealContainerTest::HangUp() {
  caller_.reset();
  server_->join();
  server_.reset();
}

void RealContainerTest::MakeBundle(const std::vector<std::string>& args, bool host_programs,
                                   const std::function<void(Json&)>& change) {
  std::string root = bundle_ + "/rootfs";
  for (const char* directory : {"bin", "proc", "sys", "dev", "tmp", "usr", "lib", "lib64"}) {
    ASSERT_TRUE(MakeDirectories(root + "/" + directory, 0755).ok());
  }
  ASSERT_EQ(::chmod((root + "/tmp").c_str(), 01777), 0);
  auto busybox = ReadFile("/bin/busybox");
  ASSERT_TRUE(busybox.ok());
  ASSERT_TRUE(WriteFileAtomically(root + "/bin/busybox", *busybox, 0755).ok());
  for (const char* applet : {"sh", "sleep", "unshare"}) {
    ASSERT_EQ(::symlink("busybox", (root + "/bin/" + applet).c_str()), 0);
  }
  ASSERT_EQ(Runc({"spec", "--bundle", bundle_}), 0);
  auto spec = ParseJson(*ReadFile(bundle_ + "/config.json"));
  ASSERT_TRUE(spec.ok());
  Json& json = *spec;
  json["process"]["terminal"] = false;
  json["process"]["args"] = args;
  json["root"]["readonly"] = false;
  json["linux"]["cgroupsPath"] = "/stasis/" + id_;
  for (Json& one : json["linux"]["namespaces"]) {
    if (one["type"] == "network") one["path"] = network_;
  }
  if (host_programs) {
    for (const char* directory : {"/usr", "/lib", "/lib64"}) {
      if (!Exists(directory)) continue;
      // CRIU cannot bind what is a link (4.2.1: "Failed to move_mount").
      std::string source = std::filesystem::canonical(directory);
      json["mounts"].push_back(
          {{"destination", directory}, {"type", "bind"}, {"source", source}, {"options", {"rbind", "ro"}}});
    }
  }
  json["linux"]["resources"].update(limits_);
  if (change) change(json);
  ASSERT_TRUE(WriteFileAtomically(bundle_ + "/config.json", DumpJson(json)).ok());
}

int RealContainerTest::Runc(const std::vector<std::string>& args,
                            const std::map<std::string, std::string>& environment) {
  Command command;
  command.argv = {STASIS_RUNC, "--root", base_ + "/runc"};
  command.argv.insert(command.argv.end(), args.begin(), args.end());
  std::string criu = STASIS_CRIU;
  command.env = BaseEnvironment();
  command.env["PATH"] = criu.substr(0, criu.rfind('/')) + ":" + command.env["PATH"];
  for (const auto& [name, value] : environment) command.env[name] = value;
  if (Exists(base_ + "/criu.conf")) command.env["CRIU_CONFIG_FILE"] = base_ + "/criu.conf";
  command.directory = bundle_;
  // Descriptors of a container must not be pipes of ours: /dev/null comes by itself where Run is not told.
  auto child = Spawn(command);
  if (!child.ok()) {
    ADD_FAILURE() << child.status();
    return -1;
  }
  auto exit = child->Wait(After(seconds(60)), {});
  return exit.ok() ? exit->ShellCode() : -1;
}

void RealContainerTest::Start() {
  ASSERT_EQ(Runc({"run", "--detach", id_}), 0);
  ASSERT_TRUE(Eventually([this] { return Number() > 0; }, seconds(20)));
}

void RealContainerTest::Counter() {
  MakeBundle({"/bin/sh", "-c", (count_in_memory_ ? "n=/dev/shm/n" : "n=/tmp/n") + std::string(kCount)});
  if (!HasFatalFailure()) Start();
}

void RealContainerTest::Python(const std::string& code) {
  if (!Exists("/usr/bin/python3")) GTEST_SKIP() << "/usr/bin/python3 is not there";
  std::string program = "import ctypes,os,socket,subprocess,time\nL=ctypes.CDLL(None)\n" + code +
                        "\ni=0\nwhile True:\n i+=1\n open('/tmp/n','w').write(str(i))\n time.sleep(0.02)\n";
  MakeBundle({"/usr/bin/python3", "-c", program}, /*host_programs=*/true, [](Json& spec) {
    for (auto& [set, list] : spec["process"]["capabilities"].items()) {
      for (const char* one : {"CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_MKNOD", "CAP_SYS_PTRACE"})
        list.push_back(one);
    }
    for (Json& device : spec["linux"]["resources"]["devices"]) device["allow"] = true;
  });
  if (!HasFatalFailure()) Start();
}

int RealContainerTest::Number() {
  std::string path = bundle_ + "/rootfs/tmp/n";
  if (count_in_memory_) path = "/proc/" + std::to_string(InitPid()) + "/root/dev/shm/n";
  auto text = ReadFile(path, 64);
  int number = 0;
  if (text.ok()) std::from_chars(text->data(), text->data() + text->size(), number);
  return number;
}

bool RealContainerTest::CountsOn() {
  int before = 0;
  Eventually([&] { return (before = Number()) > 0; }, seconds(1));
  return Eventually([&] { return Number() > before; }, seconds(5));
}

std::string RealContainerTest::State() {
  Command command;
  command.argv = {STASIS_RUNC, "--root", base_ + "/runc", "state", id_};
  command.env = BaseEnvironment();
  auto result = stasis::Run(command, {.deadline = After(seconds(20))});
  if (!result.ok() || result->exit.ShellCode() != 0) return "";
  auto state = ParseJson(result->output);
  return state.ok() ? (*state)["status"].get<std::string>() : "";
}

pid_t RealContainerTest::InitPid() {
  auto state = ReadFile(base_ + "/runc/" + id_ + "/state.json");
  if (!state.ok()) return 0;
  auto json = ParseJson(*state);
  return json.ok() ? (*json)["init_process_pid"].get<pid_t>() : 0;
}

// As the shim does: what the container saw of cgroup v1 is its own group again.
void RealContainerTest::WriteCriuOptions() {
  auto cgroup = Cgroup::Open("/stasis/" + id_);
  ASSERT_TRUE(cgroup.ok()) << cgroup.status();
  auto directories = cgroup->Directories();
  ASSERT_TRUE(directories.ok()) << directories.status();
  std::string options;
  for (const std::string& directory : *directories) {
    std::string hierarchy = directory.substr(0, directory.size() - cgroup->path().size());
    hierarchy.erase(0, hierarchy.rfind('/') + 1);
    options += "external mnt[" + std::string(protocol::kOwnCgroupMount) + hierarchy + "]:" + directory + "\n";
  }
  ASSERT_TRUE(WriteFileAtomically(base_ + "/criu.conf", options).ok());
}

bool RealContainerTest::Open(const std::string& name) {
  const protocol::RestorePlan plan = {.checkpoint = checkpoints_ + "/" + name,
                                      .store = base_ + "/store",
                                      .images = base_ + "/images",
                                      .socket = base_ + "/restore.sock",
                                      .container_id = "",
                                      .host_name = ""};
  EXPECT_TRUE(RemoveTree(plan.images).ok());
  EXPECT_TRUE(MakeDirectories(plan.images).ok());
  EXPECT_TRUE(RemoveTree(base_ + "/restore").ok());
  const auto opened = Call("open", ToJson(plan));
  EXPECT_TRUE(opened.ok()) << opened.status();
  return opened.ok();
}

int RealContainerTest::RuncRestore() {
  EXPECT_EQ(Runc({"delete", "--force", id_}), 0);
  WriteCriuOptions();
  return Runc({"restore", "--detach", "--manage-cgroups-mode", "ignore", "--tcp-established", "--file-locks",
               "--ext-unix-sk", "--image-path", base_ + "/images", "--work-path", base_ + "/restore", id_},
              {{"LD_PRELOAD", STASIS_PRELOAD}, {"STASIS_RESTORE_SOCKET", base_ + "/restore.sock"}});
}

bool RealContainerTest::CriuHasBegun() {
  return Eventually([this] { return criu::ReadLog(base_ + "/restore/restore.log").ok(); },
                    milliseconds(20000));
}

int RealContainerTest::Restore(const std::string& name) {
  if (!Open(name)) return -1;
  int status = 0;
  {
    const std::jthread giving([this] {
      EXPECT_TRUE(CriuHasBegun());
      const auto unpacked = Call("unpack");
      EXPECT_TRUE(unpacked.ok()) << unpacked.status();
      if (!unpacked.ok()) return;
      const auto filled = Call("fill");
      EXPECT_TRUE(filled.ok()) << filled.status();
    });
    status = RuncRestore();
  }
  if (status != 0) {
    auto log = criu::ReadLog(base_ + "/restore/restore.log");
    if (log.ok()) ADD_FAILURE() << log->cause;
  }
  return status;
}

std::string RealContainerTest::FreezerState() {
  auto cgroup = Cgroup::Open("/stasis/" + id_);
  if (!cgroup.ok()) return Message(cgroup.status());
  auto frozen = cgroup->Frozen();
  if (!frozen.ok()) return Message(frozen.status());
  return *frozen ? "frozen" : "thawed";
}

protocol::CheckpointPlan RealContainerTest::Plan(const std::string& name, bool exit) {
  protocol::CheckpointPlan plan;
  plan.request.name = name;
  plan.request.directory = checkpoints_;
  plan.request.store = base_ + "/store";
  plan.request.exit = exit;
  plan.request.frozen_limit_ms = 60'000;  // the machine may be busy with a build
  plan.request.engine_record = R"({"image":"busybox"})";
  plan.container_id = id_;
  plan.bundle = bundle_;
  plan.init_pid = InitPid();
  plan.cgroup_path = "/stasis/" + id_;
  plan.criu = STASIS_CRIU;
  plan.shim_directory = shim_;
  return plan;
}

StatusOr<Json> RealContainerTest::Call(const std::string& verb, const Json& params) {
  return caller_->Call(verb, params, seconds(60), {});
}

StatusOr<Json> RealContainerTest::Checkpoint(const protocol::CheckpointPlan& plan) {
  STASIS_RETURN_IF_ERROR(Call("prepare", ToJson(plan)).status());
  STASIS_RETURN_IF_ERROR(Call("freeze").status());
  return Call("finish");
}

pid_t RealContainerTest::CriuPid() {
  auto journal = protocol::JournalFile(shim_).Read();
  return journal.ok() ? journal->criu.pid : 0;
}

void RealContainerTest::ExpectAsBefore() {
  EXPECT_EQ(State(), "running");
  EXPECT_EQ(FreezerState(), "thawed");
  EXPECT_TRUE(CountsOn());
  EXPECT_FALSE(Exists(shim_ + "/" + protocol::kJournalFile));
  if (Exists(checkpoints_)) {
    EXPECT_EQ(*ListDirectory(checkpoints_), std::vector<std::string>());
  }
}

}  // namespace stasis::checkpoint
