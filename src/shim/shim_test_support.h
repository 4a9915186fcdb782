// A real shim with a real container, for tests: a busybox in a directory, runc, and the control protocol.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "linux/cancel.h"
#include "linux/cgroup.h"
#include "linux/files.h"
#include "linux/random_hex.h"
#include "linux/subprocess.h"
#include "linux/unix_socket.h"
#include "protocol/frame.h"
#include "protocol/shim.h"

namespace stasis {

inline constexpr char kRunc[] = "/usr/local/lib/stasis/bin/runc";
inline constexpr char kCriu[] = "/usr/local/lib/stasis/bin/criu";
inline constexpr std::chrono::seconds kTestLimit{30};

// A connection to attach.sock.
class Attached {
 public:
  explicit Attached(UniqueFd socket) : socket_(std::move(socket)) {}
  int fd() const { return socket_.get(); }
  void Send(std::string_view bytes) { EXPECT_TRUE(SendExactly(fd(), bytes, After(kTestLimit), {}).ok()); }
  void CloseInput() { ::shutdown(fd(), SHUT_WR); }
  void Close() { socket_.reset(); }
  // Until the end, or until `wanted` has come.
  std::string Read(const std::string& wanted = "\xff never") {
    std::string all;
    char buffer[4096];
    while (all.find(wanted) == all.npos) {
      if (!WaitFor(fd(), POLLIN, After(kTestLimit), {}).ok()) break;
      ssize_t got = ::recv(fd(), buffer, sizeof buffer, 0);
      if (got <= 0) break;
      all.append(buffer, static_cast<size_t>(got));
    }
    return all;
  }

 private:
  UniqueFd socket_;
};

class ShimTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    for (const char* program : {kRunc, "/bin/busybox"}) {
      if (::access(program, X_OK) != 0) GTEST_SKIP() << "needs " << program;
    }
    auto directory = TemporaryDirectory::Create(testing::TempDir(), "shim-");
    ASSERT_TRUE(directory.ok());
    directory_.emplace(*std::move(directory));
    config_.version = protocol::kVersion;
    config_.id = RandomHex(32);
    config_.bundle = directory_->path() + "/bundle";
    config_.runtime = kRunc;
    config_.runtime_root = directory_->path() + "/runc";
    config_.criu = kCriu;
    config_.cgroup_path = "/stasis-test-" + config_.id;  // no parent that tests would share
    config_.log_path = directory_->path() + "/" + config_.id + "-json.log";
    ASSERT_TRUE(MakeRootFileSystem().ok());
  }

  void TearDown() override {
    if (!directory_) return;
    if (shim_) {
      if (shim_->process().Ended()) {
        shim_->Wait(After(kTestLimit), {}).IgnoreError();
      } else {
        auto deleted = Call("delete", {{"force", true}});
        EXPECT_TRUE(deleted.ok()) << deleted.status();
        auto exit = shim_->Wait(After(kTestLimit), {});
        EXPECT_TRUE(exit.ok() && exit->ShellCode() == 0);
      }
    }
    auto cgroup = Cgroup::Open(config_.cgroup_path);
    ASSERT_TRUE(cgroup.ok());
    EXPECT_TRUE(cgroup->KillAll(After(kTestLimit)).ok());
    EXPECT_TRUE(cgroup->Remove().ok());
    if (HasFailure()) {
      auto log = ReadFile(shim_directory() + "/" + protocol::kShimLogFile);
      if (log.ok()) std::fprintf(stderr, "--- shim.log\n%s---\n", log->c_str());
    }
  }

  Status MakeRootFileSystem() {
    const std::string root = config_.bundle + "/rootfs";
    for (const char* name : {"/bin", "/proc", "/dev", "/tmp", "/sys"}) {
      STASIS_RETURN_IF_ERROR(MakeDirectories(root + name, 0755));
    }
    STASIS_ASSIGN_OR_RETURN(std::string busybox, ReadFile("/bin/busybox"));
    STASIS_RETURN_IF_ERROR(WriteFileAtomically(root + "/bin/busybox", busybox, 0755));
    for (const char* name : {"sh", "sleep", "cat", "echo", "kill", "stty", "yes", "head", "seq", "id", "dd",
                             "true", "tail", "usleep"}) {
      if (::symlink("busybox", (root + "/bin/" + name).c_str()) != 0) return ErrnoError(errno, "symlink");
    }
    return {};
  }

  Json ProcessOf(const std::vector<std::string>& args) const {
    return {{"terminal", config_.stdio.terminal},
            {"user", {{"uid", 0}, {"gid", 0}}},
            {"args", args},
            {"env", {"PATH=/bin", "TERM=xterm"}},
            {"cwd", "/"}};
  }

  virtual Json Spec(const std::vector<std::string>& args) const {
    Json mounts = Json::array();
    mounts.push_back({{"destination", "/proc"}, {"type", "proc"}, {"source", "proc"}});
    mounts.push_back({{"destination", "/dev"},
                      {"type", "tmpfs"},
                      {"source", "tmpfs"},
                      {"options", {"nosuid", "mode=755", "size=65536k"}}});
    mounts.push_back({{"destination", "/dev/pts"},
                      {"type", "devpts"},
                      {"source", "devpts"},
                      {"options", {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}}});
    Json namespaces = Json::array();
    for (const char* type : {"pid", "mount", "ipc", "uts", "network"}) namespaces.push_back({{"type", type}});
    return {{"ociVersion", "1.0.2"},
            {"process", ProcessOf(args)},
            {"root", {{"path", "rootfs"}, {"readonly", false}}},
            {"hostname", "test"},
            {"mounts", mounts},
            {"linux",
             {{"cgroupsPath", config_.cgroup_path}, {"namespaces", namespaces}, {"resources", resources_}}}};
  }

  // A program of ours that was built with this test.
  static std::string BesideTest(const std::string& program) {
    const std::string path = *RealPath("/proc/self/exe");
    return path.substr(0, path.rfind('/') + 1) + program;
  }

  std::string shim_directory() const { return directory_->path() + "/shim"; }

  // Starts the shim for a container that runs `args`.
  void StartShim(const std::vector<std::string>& args) {
    ASSERT_TRUE(WriteFileAtomically(config_.bundle + "/config.json", DumpJson(Spec(args))).ok());
    ASSERT_TRUE(MakeDirectories(shim_directory()).ok());
    ASSERT_TRUE(WriteFileAtomically(shim_directory() + "/" + protocol::kShimConfigFile,
                                    DumpJson(protocol::ToJson(config_)))
                    .ok());
    auto ready = MakePipe();
    ASSERT_TRUE(ready.ok());
    auto child = Spawn({.argv = {BesideTest("stasis-shim"), "--dir", shim_directory()},
                        .env = BaseEnvironment(),
                        .fds = {{2, 2}, {3, ready->write_end.get()}},
                        .new_session = true});
    ASSERT_TRUE(child.ok()) << child.status();
    shim_.emplace(*std::move(child));
    ready->write_end.reset();
    auto word = ReadAll(ready->read_end.get());
    ASSERT_TRUE(word.ok());
    ASSERT_EQ(*word, "R");
  }

  StatusOr<protocol::Caller> Connect() {
    STASIS_ASSIGN_OR_RETURN(UniqueFd socket, ConnectUnix(shim_directory() + "/" + protocol::kShimSocket));
    return protocol::Caller(std::move(socket));
  }

  StatusOr<Json> Call(const std::string& method, const Json& params = Json::object()) {
    STASIS_ASSIGN_OR_RETURN(protocol::Caller caller, Connect());
    return caller.Call(method, params, kTestLimit, {});
  }

  void CreateAndStart() {
    auto created = Call("create");
    ASSERT_TRUE(created.ok()) << created.status();
    auto started = Call("start");
    ASSERT_TRUE(started.ok()) << started.status();
  }

  void RunContainer(const std::vector<std::string>& args) {
    StartShim(args);
    if (!HasFatalFailure()) CreateAndStart();
  }

  protocol::ShimState State() {
    auto state = protocol::ShimStateFromJson(Call("hello").value_or(Json::object()));
    EXPECT_TRUE(state.ok()) << state.status();
    return state.value_or(protocol::ShimState{});
  }

  // The event of this type for this process; waits for it.
  protocol::ShimEvent WaitForEvent(const std::string& type, const std::string& process = protocol::kInit,
                                   uint64_t after = 0) {
    auto caller = Connect();
    EXPECT_TRUE(caller.ok());
    if (!caller.ok()) return {};
    EXPECT_TRUE(caller->Call("subscribe", {{"after", after}}, kTestLimit, {}).ok());
    for (;;) {
      auto frame = protocol::ReadFrame(caller->fd(), After(kTestLimit), {});
      EXPECT_TRUE(frame.ok()) << "no event " << type << ": " << frame.status();
      if (!frame.ok()) return {};
      auto event = protocol::ShimEventFromJson((*frame)["params"]);
      EXPECT_TRUE(event.ok()) << event.status();
      if (event.ok() && event->type == type && event->process == process) return *event;
    }
  }

  int WaitForExit(const std::string& process = protocol::kInit) {
    protocol::ShimEvent event = WaitForEvent("exit", process);
    return event.exit ? event.exit->status : -1;
  }

  std::optional<Attached> Attach(const std::string& process = protocol::kInit, bool input = true) {
    auto socket = ConnectUnix(shim_directory() + "/" + protocol::kAttachSocket);
    EXPECT_TRUE(socket.ok());
    if (!socket.ok()) return std::nullopt;
    protocol::AttachRequest request{
        .process = process, .use_stdin = input, .use_stdout = true, .use_stderr = true};
    EXPECT_TRUE(protocol::WriteFrame(socket->get(),
                                     {{"id", 1}, {"method", "attach"}, {"params", protocol::ToJson(request)}})
                    .ok());
    return Attached(*std::move(socket));
  }
  // The answer to an attach: its error, or the result.
  static StatusOr<Json> AttachAnswer(const Attached& attached) {
    STASIS_ASSIGN_OR_RETURN(Json frame, protocol::ReadFrame(attached.fd(), After(kTestLimit), {}));
    if (frame.contains("error")) return protocol::ErrorFromJson(frame["error"]);
    return frame["result"];
  }

  // A container that writes `bytes` bytes as fast as it can, with these clients there from the start.
  void StartFlood(size_t bytes, std::initializer_list<std::optional<Attached>*> clients) {
    StartShim({"/bin/sh", "-c", "yes 0123456789 | head -c " + std::to_string(bytes)});
    ASSERT_TRUE(Call("create").ok());
    for (std::optional<Attached>* client : clients) {
      *client = Attach();
      ASSERT_TRUE(client->has_value() && AttachAnswer(**client).ok());
    }
    ASSERT_TRUE(Call("start").ok());
  }

  // The log's text of one stream, lines joined.
  std::string LogText(const std::string& stream = "stdout") {
    std::string text;
    std::string file = ReadFile(config_.log_path).value_or("");
    for (size_t at = 0; at < file.size();) {
      size_t end = file.find('\n', at);
      if (end == file.npos) break;  // it is being written
      auto line = ParseJson(file.substr(at, end - at));
      EXPECT_TRUE(line.ok()) << file.substr(at, end - at);
      if (line.ok() && (*line)["stream"] == stream) text += (*line)["log"].get<std::string>();
      at = end + 1;
    }
    return text;
  }

  // Checks again and again until it is so. For what nobody tells of, such as a log that is being written.
  template <typename Condition>
  bool Eventually(Condition condition) {
    for (Deadline end = After(kTestLimit); std::chrono::steady_clock::now() < end;) {
      if (condition()) return true;
      ::poll(nullptr, 0, 10);
    }
    return false;
  }

  std::optional<TemporaryDirectory> directory_;
  protocol::ShimConfig config_;
  Json resources_ = Json::object();
  std::optional<Child> shim_;
};

}  // namespace stasis
