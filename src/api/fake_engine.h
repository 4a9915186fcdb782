// For tests of the HTTP layer alone: an engine in memory whose calls do as they are told. Its one container
// is "c1".
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "backend/checkpoints.h"
#include "backend/containers.h"
#include "backend/execs.h"
#include "backend/images.h"
#include "backend/system.h"
#include "linux/unix_socket.h"

namespace stasis::api {

inline std::string Frame(char stream, const std::string& text) {
  std::string frame{
      stream, 0, 0, 0, 0, 0, static_cast<char>(text.size() >> 8), static_cast<char>(text.size() & 0xff)};
  return frame + text;
}

// A latch that waits for `cancel` as well.
class Gate {
 public:
  void Open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  Status Wait(std::stop_token cancel) {
    std::unique_lock lock(mutex_);
    if (changed_.wait(lock, cancel, [this] { return open_; })) return absl::OkStatus();
    return Cancelled("cancelled");
  }
  // Whether it opened within ten seconds.
  bool WaitBriefly() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool open_ = false;
};

// A value that one of the test's and the handlers' threads leaves for the other.
template <typename T>
class Recorded {
 public:
  Recorded() = default;
  explicit Recorded(T value) : value_(std::move(value)) {}
  void operator=(T value) {
    std::lock_guard lock(mutex_);
    value_ = std::move(value);
  }
  T get() const {
    std::lock_guard lock(mutex_);
    return value_;
  }

 private:
  mutable std::mutex mutex_;
  T value_;
};

class FakeEngine : public backend::SystemBackend,
                   public backend::ContainerBackend,
                   public backend::ExecBackend,
                   public backend::CheckpointBackend,
                   public backend::ImageBackend {
 public:
  // ---- what tests set and look at ----
  bool terminal = false;
  bool keeps_log = true;
  Recorded<std::function<void(int socket)>> process{
      Echo};  // the process's side of attach and exec; ends the stream by return
  Gate checkpoint_begun, checkpoint_cancelled, checkpoint_may_end;
  Gate load_failed, events_begun, exit_now;
  std::atomic<bool> process_saw_half_close = false;
  Gate process_ended, detached;

  // Writes back what it reads as stdout, and after the end of stdin one line on stderr.
  static void Echo(int socket) {
    char buffer[4096];
    for (ssize_t count; (count = ::recv(socket, buffer, sizeof buffer, 0)) > 0;) {
      std::string frame = Frame(1, std::string(buffer, static_cast<size_t>(count)));
      if (::send(socket, frame.data(), frame.size(), MSG_NOSIGNAL) < 0) return;
    }
    std::string bye = Frame(2, "bye\n");
    ::send(socket, bye.data(), bye.size(), MSG_NOSIGNAL);
  }

  // ---- SystemBackend ----
  backend::VersionInfo Version() override { return {"0.1", "abc", "", "6.0", {{"runc", "1.3", {}}}}; }
  StatusOr<backend::SystemInfo> Info() override {
    backend::SystemInfo info;
    info.id = "fake";
    info.containers = 1;
    info.name = "host";
    info.cgroup_version = "1";
    return info;
  }
  Status Events(const backend::EventQuery& query,
                const std::function<Status(const backend::EventMessage&)>& on_event,
                std::stop_token cancel) override {
    STASIS_RETURN_IF_ERROR(
        on_event({"container", "start", Id(), {{"image", "img"}, {"name", "c1"}}, absl::UnixEpoch()}));
    events_begun.Open();
    if (query.until) return absl::OkStatus();
    return Gate().Wait(cancel);
  }

  // ---- ContainerBackend ----
  static std::string Id() { return std::string(64, 'a'); }
  Status Check(const std::string& container) {
    if (container == "c1" || container == Id() || container == Id().substr(0, 12)) return absl::OkStatus();
    return NotFound("No such container: " + container);
  }
  StatusOr<backend::CreateResult> Create(const backend::CreateRequest& request) override {
    created = request;
    return backend::CreateResult{Id(), {}};
  }
  Recorded<backend::CreateRequest> created;
  StatusOr<backend::Change> Start(const std::string& container, const backend::StartOptions& options,
                                  std::stop_token) override {
    STASIS_RETURN_IF_ERROR(Check(container));
    started_from = options.checkpoint + "@" + options.checkpoint_dir;
    started.Open();
    if (options.on_files_kept && !options.checkpoint.empty()) options.on_files_kept("before");
    return backend::Change::kDone;
  }
  Recorded<std::string> started_from;
  Gate started;
  StatusOr<backend::Change> Stop(const std::string& container, const backend::StopOptions& options,
                                 std::stop_token cancel) override {
    STASIS_RETURN_IF_ERROR(Check(container));
    if (!options.timeout) return backend::Change::kAlreadySo;
    stop_begun.Open();
    STASIS_RETURN_IF_ERROR(stop_may_end.Wait(std::move(cancel)));
    stop_ended.Open();
    return backend::Change::kDone;
  }
  Gate stop_begun, stop_may_end, stop_ended;
  Status Kill(const std::string& container, const std::string&, std::stop_token) override {
    return Check(container);
  }
  Status Restart(const std::string& container, const backend::StopOptions&, std::stop_token) override {
    return Check(container);
  }
  Status Pause(const std::string& container) override { return Check(container); }
  Status Unpause(const std::string& container) override { return Check(container); }
  StatusOr<backend::WaitResult> Wait(const std::string& container, backend::WaitCondition,
                                     const std::function<void()>& on_waiting,
                                     std::stop_token cancel) override {
    STASIS_RETURN_IF_ERROR(Check(container));
    on_waiting();
    STASIS_RETURN_IF_ERROR(exit_now.Wait(cancel));
    return backend::WaitResult{7, ""};
  }
  Status Rename(const std::string& container, const std::string&) override { return Check(container); }
  Status Remove(const std::string& container, const backend::RemoveOptions&) override {
    return Check(container);
  }
  StatusOr<std::vector<backend::ContainerSummary>> List(const backend::ListOptions&) override {
    backend::ContainerSummary summary;
    summary.id = Id();
    summary.names = {"/c1"};
    summary.image = "img";
    summary.command = "sh";
    summary.state = "running";
    summary.status = "Up 3 seconds";
    return std::vector{summary};
  }
  StatusOr<backend::ContainerDetails> Inspect(const std::string& container, bool) override {
    STASIS_RETURN_IF_ERROR(Check(container));
    backend::ContainerDetails details;
    details.id = Id();
    details.name = "/c1";
    details.created = absl::UnixEpoch();
    details.state.status = "running";
    details.state.running = true;
    details.config.open_stdin = true;
    details.config.tty = terminal;
    details.host_config.network_mode = "none";
    return details;
  }
  Status Logs(const std::string& container, const backend::LogOptions& options, const OnLog& on_log,
              const backend::ByteSink& sink, std::stop_token cancel) override {
    STASIS_RETURN_IF_ERROR(Check(container));
    logs_asked = options;
    if (!keeps_log) return Unimplemented("configured logging driver does not support reading");
    STASIS_RETURN_IF_ERROR(on_log(terminal));
    STASIS_RETURN_IF_ERROR(sink(Frame(1, "out\n")));
    STASIS_RETURN_IF_ERROR(sink(Frame(2, "err\n")));
    if (!options.follow) return absl::OkStatus();
    // Floods, until told not to.
    std::string much = Frame(1, std::string(30000, 'x'));
    while (!cancel.stop_requested()) STASIS_RETURN_IF_ERROR(sink(much));
    return Cancelled("cancelled");
  }
  Recorded<backend::LogOptions> logs_asked;
  Status Resize(const std::string& container, uint32_t, uint32_t) override { return Check(container); }

  class Session : public backend::AttachSession {
   public:
    explicit Session(FakeEngine& engine) : engine_(engine) {}
    bool terminal() const override { return engine_.terminal; }
    StatusOr<UniqueFd> Connect(std::stop_token) override { return engine_.RunProcess(); }
    void Detached() override { engine_.detached.Open(); }

   private:
    FakeEngine& engine_;
  };
  StatusOr<std::unique_ptr<backend::AttachSession>> Attach(const std::string& container,
                                                           const backend::AttachOptions&) override {
    STASIS_RETURN_IF_ERROR(Check(container));
    return std::make_unique<Session>(*this);
  }

  // ---- ExecBackend ----
  StatusOr<std::string> CreateExec(const std::string& container, const backend::ExecConfig& config) override {
    STASIS_RETURN_IF_ERROR(Check(container));
    exec = config;
    return std::string("e1");
  }
  Recorded<backend::ExecConfig> exec;
  Status StartExecDetached(const std::string&) override { return absl::OkStatus(); }
  class ExecSession : public backend::AttachSession {
   public:
    explicit ExecSession(FakeEngine& engine) : engine_(engine) {}
    bool terminal() const override { return engine_.exec.get().tty; }
    StatusOr<UniqueFd> Connect(std::stop_token) override {
      if (!engine_.ExecFails()) return engine_.RunProcess();
      STASIS_ASSIGN_OR_RETURN(SocketPair pair, MakeSocketPair());
      std::string why = Frame(2, "executable file not found in $PATH\n");
      ::send(pair.second.get(), why.data(), why.size(), MSG_NOSIGNAL);
      return std::move(pair.first);
    }
    void Detached() override { engine_.detached.Open(); }

   private:
    FakeEngine& engine_;
  };
  StatusOr<std::unique_ptr<backend::AttachSession>> AttachExec(const std::string& id,
                                                               backend::ConsoleSize) override {
    STASIS_RETURN_IF_ERROR(InspectExec(id).status());
    return std::make_unique<ExecSession>(*this);
  }
  Status ResizeExec(const std::string&, uint32_t, uint32_t) override { return absl::OkStatus(); }
  StatusOr<backend::ExecDetails> InspectExec(const std::string& id) override {
    if (id != "e1") return NotFound("No such exec instance: " + id);
    backend::ExecDetails details;
    details.id = id;
    details.config = exec.get();
    details.exit_code = ExecFails() ? 127 : 7;
    return details;
  }

  // ---- CheckpointBackend ----
  StatusOr<backend::CheckpointCreated> CreateCheckpoint(const std::string& container,
                                                        const backend::CheckpointCreate& request,
                                                        std::stop_token cancel) override {
    STASIS_RETURN_IF_ERROR(Check(container));
    checkpoint = request;
    checkpoint_begun.Open();
    Status status = checkpoint_may_end.Wait(cancel);
    if (!status.ok()) checkpoint_cancelled.Open();
    if (!status.ok()) return status;
    return backend::CheckpointCreated{checkpoint_warnings.get()};
  }
  Recorded<backend::CheckpointCreate> checkpoint;
  Recorded<std::vector<std::string>> checkpoint_warnings;
  StatusOr<std::vector<std::string>> ListCheckpoints(const std::string& container,
                                                     const std::string& dir) override {
    STASIS_RETURN_IF_ERROR(Check(container));
    if (dir == "/empty") return std::vector<std::string>();
    return std::vector<std::string>{"cp1", "cp2"};
  }
  Status DeleteCheckpoint(const std::string& container, const std::string& name,
                          const std::string&) override {
    if (name == "cp1") return absl::OkStatus();
    return NotFound("checkpoint " + name + " does not exist for container " + container);
  }
  StatusOr<Json> InspectCheckpoint(const std::string& container, const std::string& name,
                                   const std::string& directory) override {
    if (container.empty()) return Json{{"Name", name}, {"In", directory}};
    return Json{{"Name", name}};
  }
  StatusOr<std::vector<backend::CheckpointSummary>> ListAllCheckpoints(const std::string& dir) override {
    if (dir == "/none") return NotFound("there is none");
    return std::vector<backend::CheckpointSummary>{{"1", "c1", "cp1", true, "busybox", "sha256:2"}};
  }
  Status ExportCheckpoint(const std::string& container, const std::string& name, const std::string& dir,
                          const backend::ByteSink& sink, std::stop_token) override {
    if (name == "cp9") return NotFound("checkpoint cp9 does not exist");
    STASIS_RETURN_IF_ERROR(sink(container + "/" + name + "/" + dir));
    return name == "broken" ? DataLoss("it is damaged") : absl::OkStatus();
  }
  StatusOr<std::string> ImportCheckpoint(const backend::ByteSource& body,
                                         const backend::CheckpointImport& request, std::stop_token) override {
    char bytes[16];
    STASIS_ASSIGN_OR_RETURN(const size_t size, body(bytes, sizeof bytes));
    return request.container + "/" + request.name + "/" + request.directory + "/" + std::string(bytes, size);
  }
  StatusOr<backend::UndoneRestore> UndoRestore(const std::string& container, const std::string& name,
                                               std::stop_token) override {
    STASIS_RETURN_IF_ERROR(Check(container));
    return backend::UndoneRestore{name.empty() ? "last" : name, "kept"};
  }
  StatusOr<std::vector<backend::FileChange>> DiffCheckpoint(const std::string&,
                                                            const backend::CheckpointDiff& request,
                                                            std::stop_token) override {
    if (request.from == "bare") return FailedPrecondition("without files");
    if (request.since_image) return std::vector<backend::FileChange>{{"/of-image"}};
    return std::vector<backend::FileChange>{{"/" + request.from, backend::FileChangeKind::kModified},
                                            {"/" + request.to, backend::FileChangeKind::kAdded},
                                            {request.directory, backend::FileChangeKind::kDeleted}};
  }
  Status InspectProcesses(const std::string&, const std::string& name,
                          const backend::ProcessInspection& request, const OnProcess& on_process,
                          std::stop_token) override {
    if (name == "cp9") return NotFound("checkpoint cp9 does not exist for container c1");
    for (const uint32_t pid : {1u, 7u}) {
      if (request.pid != 0 && request.pid != pid) continue;
      STASIS_RETURN_IF_ERROR(
          on_process({{"pid", pid}, {"files", request.files}, {"memory", request.memory}}));
    }
    return absl::OkStatus();
  }
  StatusOr<backend::CheckpointVerification> VerifyCheckpoints(const std::string& dir,
                                                              const backend::OnProgress& on_progress,
                                                              std::stop_token) override {
    if ((dir == "/slow" || dir == "/broken") && on_progress) on_progress({"packs", 5, 10, 2});
    if (dir == "/broken") return DataLoss("it broke");
    return backend::CheckpointVerification{4096, 2, {"packs/1.pack"}, {{"c1", "cp1", "damaged in " + dir}}};
  }
  StatusOr<uint64_t> PruneCheckpoints(const std::string& dir, const backend::OnProgress&,
                                      std::stop_token) override {
    if (dir == "/busy") return Unavailable("busy");
    return 42;
  }
  StatusOr<std::vector<backend::CheckpointUsage>> MeasureCheckpoints(const std::string&,
                                                                     const backend::OnProgress&,
                                                                     std::stop_token) override {
    return std::vector<backend::CheckpointUsage>{{"c1", "cp1", 3, 2, 1}};
  }

  // ---- ImageBackend ----
  Status LoadImages(const backend::ByteSource& body, const OnMessage& on_message, std::stop_token) override {
    std::vector<char> buffer(64 << 10);
    for (size_t total = 0;;) {
      StatusOr<size_t> count = body(buffer.data(), buffer.size());
      if (!count.ok()) {
        load_failed.Open();
        return count.status();
      }
      if (*count == 0) {
        on_message("Loaded image: " + std::to_string(total));
        return absl::OkStatus();
      }
      if (total == 0) on_message("first bytes");
      if (std::string_view(buffer.data(), *count).find("POISON") != std::string_view::npos) {
        return InvalidArgument("bad archive");
      }
      total += *count;
    }
  }
  StatusOr<std::string> ImportImage(const backend::ByteSource& source, const backend::ImageImport& request,
                                    std::stop_token) override {
    char buffer[4096];
    for (size_t got = 1; got > 0;) {
      STASIS_ASSIGN_OR_RETURN(got, source(buffer, sizeof buffer));
    }
    return "sha256:" + request.reference + "/" + std::to_string(request.changes.size()) + request.platform;
  }
  StatusOr<std::vector<backend::ImageSummary>> ListImages(bool, const backend::Filters&) override {
    return std::vector<backend::ImageSummary>{{"sha256:" + Id(), {"img:latest"}, 0, 1234, {}, 0}};
  }
  StatusOr<backend::ImageDetails> InspectImage(const std::string& image) override {
    if (image != "img") return NotFound("No such image: " + image);
    backend::ImageDetails details;
    details.id = "sha256:" + Id();
    details.size = 1234;
    return details;
  }
  StatusOr<backend::ImageRemoval> RemoveImage(const std::string& image, bool) override {
    return backend::ImageRemoval{{image}, {"sha256:x"}};
  }
  Status TagImage(const std::string&, const std::string&) override { return absl::OkStatus(); }

 private:
  bool ExecFails() const {
    std::vector<std::string> cmd = exec.get().cmd;
    return !cmd.empty() && cmd[0] == "nosuch";
  }

  StatusOr<UniqueFd> RunProcess() {
    STASIS_ASSIGN_OR_RETURN(SocketPair pair, MakeSocketPair());
    std::lock_guard lock(mutex_);
    processes_.emplace_back([this, socket = std::move(pair.second)] {
      process.get()(socket.get());
      ::shutdown(socket.get(), SHUT_RDWR);
      process_ended.Open();
    });
    return std::move(pair.first);
  }

  std::mutex mutex_;
  std::vector<std::jthread> processes_;  // last: joined first
};

}  // namespace stasis::api
