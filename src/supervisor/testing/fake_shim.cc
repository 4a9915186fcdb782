// A shim for tests: speaks the shim's protocol, but its container is nothing, or a `sleep` where a pid is
// wanted. What it does is told by the bundle's directory: files there named "fail-METHOD", "hang-METHOD" and
// "die-at-METHOD"; a checkpoint lasts until the file "go" is there.
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <list>
#include <mutex>
#include <thread>
#include <vector>

#include "base/json.h"
#include "linux/files.h"
#include "linux/process_handle.h"
#include "linux/unix_socket.h"
#include "protocol/frame.h"
#include "protocol/shim.h"

namespace stasis::protocol {
namespace {

class FakeShim {
 public:
  FakeShim(std::string directory, ShimConfig config)
      : directory_(std::move(directory)), config_(std::move(config)) {
    state_.version = kVersion;
    state_.status = "starting";
  }

  int Serve(int ready) {
    auto listener = UnixListener::Listen(directory_ + "/" + kShimSocket);
    if (!listener.ok()) return Fail(ready, listener.status());
    std::string pid = std::to_string(::getpid()) + " " + std::to_string(*ProcessStartTime(::getpid()));
    if (Status status = WriteFileAtomically(directory_ + "/" + kShimPidFile, pid); !status.ok()) {
      return Fail(ready, status);
    }
    if (Exists(config_.bundle + "/fail-ready")) return Fail(ready, Internal("this shim can't"));
    WriteAll(ready, "R").IgnoreError();
    ::close(ready);
    for (;;) {
      auto connection = listener->Accept({});
      if (!connection.ok()) return 1;
      std::thread([this, fd = connection->release()] { Connection(UniqueFd(fd)); }).detach();
    }
  }

 private:
  static int Fail(int ready, const Status& status) {
    WriteAll(ready, Message(status)).IgnoreError();
    return 1;
  }

  void Connection(UniqueFd fd) {
    for (;;) {
      auto frame = ReadFrame(fd.get(), kNoDeadline, {});
      if (!frame.ok()) return;
      auto request = RequestFromJson(*frame);
      if (!request.ok()) return;
      if (Exists(config_.bundle + "/die-at-" + request->method)) ::kill(::getpid(), SIGKILL);
      StatusOr<Json> answer = Internal("fake failure");
      if (Exists(config_.bundle + "/hang-" + request->method)) {
        pollfd gone{fd.get(), POLLRDHUP, 0};
        ::poll(&gone, 1, -1);
        return;
      }
      if (!Exists(config_.bundle + "/fail-" + request->method)) answer = Do(*request, fd.get());
      if (!WriteFrame(fd.get(), AnswerToJson(request->id, answer)).ok()) return;
      if (request->method == "subscribe" && answer.ok()) return Stream(fd.get(), *request);
      if (request->method == "delete" && answer.ok()) ::_exit(0);
    }
  }

  StatusOr<Json> Do(const Request& request, int fd) {
    const std::string& method = request.method;
    if (method == "checkpoint") return Checkpoint(request, fd);
    std::lock_guard lock(mutex_);
    if (method == "hello") return ToJson(state_);
    if (method == "subscribe" || method == "resize" || method == "close_stdin" || method == "update") {
      return Json::object();
    }
    if (method == "create") return SetStatus("created");
    if (method == "start") {
      if (state_.status != "created") return FailedPrecondition("the container is " + state_.status);
      state_.pid = ::getpid();
      state_.started_at = absl::Now();
      Emit("start-container", kInit);
      return SetStatus("running");
    }
    if (method == "pause") {
      Emit("pause", kInit);
      return SetStatus("paused");
    }
    if (method == "resume") {
      Emit("resume", kInit);
      return SetStatus("running");
    }
    if (method == "kill") return Kill(request.params);
    if (method == "exec") return Exec(request.params);
    if (method == "delete") {
      if (!state_.exit && !request.params.value("force", false)) return FailedPrecondition("it runs");
      STASIS_RETURN_IF_ERROR(RemoveTree(directory_));
      return Json::object();
    }
    return Unimplemented(method);
  }

  Json SetStatus(const std::string& status) {
    state_.status = status;
    return {{"pid", state_.pid}};
  }

  StatusOr<Json> Kill(const Json& params) {
    std::string process = params.value("process", "");
    int signal = params.value("signal", 0);
    if (process == kInit) {
      state_.exit = ExitRecord{kInit, 128 + signal, false, absl::Now(), ""};
      STASIS_RETURN_IF_ERROR(
          WriteFileAtomically(directory_ + "/" + kExitFile, DumpJson(ToJson(*state_.exit))));
      state_.status = "stopped";
      Emit("exit", kInit, state_.exit);
      return Json::object();
    }
    for (auto exec = state_.execs.begin(); exec != state_.execs.end(); ++exec) {
      if (exec->process != process) continue;
      state_.execs.erase(exec);
      Emit("exit", process, ExitRecord{process, 128 + signal, false, absl::Now(), ""});
      return Json::object();
    }
    return NotFound("no process " + process);
  }

  StatusOr<Json> Exec(const Json& params) {
    STASIS_ASSIGN_OR_RETURN(ExecRequest request, ExecRequestFromJson(params));
    std::vector<std::string> args = request.spec["args"];
    for (const ShimState::Exec& exec : state_.execs) {
      if (exec.process == request.process)
        return AlreadyExists("process " + exec.process + " exists already");
    }
    state_.execs.push_back({request.process, ::getpid(), request.stdio.terminal, args});
    Emit("start-process", request.process);
    return Json{{"pid", ::getpid()}};
  }

  StatusOr<Json> Checkpoint(const Request& request, int fd) {
    STASIS_ASSIGN_OR_RETURN(CheckpointRequest plan, CheckpointRequestFromJson(request.params));
    SetCheckpointing(true);
    for (int step = 0; !Exists(config_.bundle + "/go"); ++step) {
      WriteFrame(fd, NoticeToJson("progress", {{"phase", "dump"}, {"bytes", step}})).IgnoreError();
      pollfd gone{fd, POLLRDHUP, 0};
      if (::poll(&gone, 1, 20) > 0) {
        SetCheckpointing(false);
        WriteFileAtomically(config_.bundle + "/cancelled", "").IgnoreError();
        return Cancelled("the caller has gone");
      }
    }
    SetCheckpointing(false);
    STASIS_RETURN_IF_ERROR(
        WriteFileAtomically(config_.bundle + "/last-checkpoint.json", DumpJson(request.params)));
    return ToJson(CheckpointResult{1234, 5678, {"a warning"}});
  }

  void SetCheckpointing(bool value) {
    std::lock_guard lock(mutex_);
    state_.checkpointing = value;
  }

  void Emit(const std::string& type, const std::string& process, std::optional<ExitRecord> exit = {}) {
    events_.push_back({events_.size() + 1, type, process, absl::Now(), std::move(exit)});
    changed_.notify_all();
  }

  void Stream(int fd, const Request& request) {
    for (size_t next = request.params.value("after", 0u);; ++next) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return next < events_.size(); });
      Json event = ToJson(events_[next]);
      lock.unlock();
      if (!WriteFrame(fd, NoticeToJson("event", event)).ok()) return;
    }
  }

  const std::string directory_;
  const ShimConfig config_;
  std::mutex mutex_;
  std::condition_variable changed_;
  ShimState state_;
  std::vector<ShimEvent> events_;
};

int Main(const std::string& directory) {
  ::signal(SIGPIPE, SIG_IGN);
  auto text = ReadFile(directory + "/" + kShimConfigFile);
  if (!text.ok()) return 1;
  auto json = ParseJson(*text);
  if (!json.ok()) return 1;
  auto config = ShimConfigFromJson(*json);
  if (!config.ok()) return 1;
  return FakeShim(directory, *config).Serve(3);
}

}  // namespace
}  // namespace stasis::protocol

int main(int argc, char** argv) { return argc == 2 ? stasis::protocol::Main(argv[1]) : 2; }
