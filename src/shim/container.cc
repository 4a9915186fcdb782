#include "shim/container.h"

#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/time/clock.h"
#include "linux/files.h"
#include "protocol/frame.h"
#include "protocol/restore_directories.h"
#include "shim/checkpoint_run.h"
#include "shim/console_socket.h"
#include "shim/operation.h"

namespace stasis {
namespace {

constexpr std::chrono::seconds kRuntimeLimit{120};
constexpr std::chrono::minutes kRestoreLimit{60};
constexpr std::chrono::seconds kConsoleLimit{10};
constexpr std::chrono::seconds kKillLimit{30};
constexpr std::chrono::seconds kProgressInterval{5};

// What a bundle's config says; empty where it cannot be read.
Json ReadSpec(const std::string& bundle) {
  StatusOr<std::string> text = ReadFile(bundle + "/config.json");
  if (!text.ok()) return Json::object();
  StatusOr<Json> spec = ParseJson(*text);
  return spec.ok() ? *std::move(spec) : Json::object();
}

// The arguments that it gives to init; for State only.
std::vector<std::string> ReadArguments(const std::string& bundle) {
  std::vector<std::string> arguments;
  const Json spec = ReadSpec(bundle);
  const Json* process = JsonReader(spec).Find("process");
  if (process) JsonReader(*process).Get("args", &arguments);
  return arguments;
}

std::string ReadHostName(const std::string& bundle) {
  std::string name;
  const Json spec = ReadSpec(bundle);
  JsonReader(spec).Get("hostname", &name);
  return name;
}

// runc puts CRIU and its helpers into the container's cgroup, where they count as well; and for a session or
// a process group whose leader has ended, CRIU starts another process for a moment, so two for each process
// at most. As many more are allowed while it restores.
class RestoreLimit {
 public:
  static constexpr int64_t kCriu = 8;
  static constexpr int64_t kForEachProcess = 3;       // itself included
  static constexpr int64_t kMostProcesses = 1 << 22;  // of a machine (proc_sys_kernel(5), pid_max)

  // In the spec that runc reads; it is as before when this ends.
  static StatusOr<RestoreLimit> Raise(const std::string& bundle) {
    const Json::json_pointer pointer("/linux/resources/pids/limit");
    RestoreLimit raised;
    raised.file_ = bundle + "/config.json";
    STASIS_ASSIGN_OR_RETURN(raised.text_, ReadFile(raised.file_));
    STASIS_ASSIGN_OR_RETURN(Json spec, ParseJson(raised.text_));
    if (!spec.contains(pointer) || !spec[pointer].is_number_integer() || spec[pointer] <= 0)
      return RestoreLimit();
    raised.limit_ = spec[pointer];
    spec[pointer] = std::min(raised.limit_, kMostProcesses) * kForEachProcess + kCriu;
    STASIS_RETURN_IF_ERROR(WriteFileAtomically(raised.file_, DumpJson(spec), 0600));
    return raised;
  }
  RestoreLimit(RestoreLimit&& other) noexcept
      : limit_(std::exchange(other.limit_, 0)),
        file_(std::move(other.file_)),
        text_(std::move(other.text_)) {}
  RestoreLimit& operator=(RestoreLimit&&) = delete;
  ~RestoreLimit() {
    if (limit_ > 0)
      WriteFileAtomically(file_, text_, 0600).IgnoreError();  // the engine writes it for each start
  }

  // Of the cgroup too, once CRIU has ended. By runc, which remembers limits.
  Status SetAgain(OciRuntime& runtime, const std::string& id, const OciLimits& limits) const {
    if (limit_ <= 0) return absl::OkStatus();
    return runtime.Update(id, {{"pids", {{"limit", limit_}}}}, limits);
  }

 private:
  RestoreLimit() = default;
  int64_t limit_ = 0;
  std::string file_;
  std::string text_;
};

// What runc has no flags for.
StatusOr<std::string> CriuOptions(const Cgroup& cgroup) {
  // Nothing was locked at the dump, so there is nothing to unlock, for which CRIU would need iptables.
  std::string options = "network-lock skip\n";
  if (cgroup.layout() != CgroupLayout::kV1) return options;
  // The container sees its own group of each hierarchy. runc's restore would name the group that runc itself
  // is in, which is the host's whole hierarchy.
  STASIS_ASSIGN_OR_RETURN(std::vector<std::string> directories, cgroup.Directories());
  for (const std::string& directory : directories) {
    std::string hierarchy = directory.substr(0, directory.size() - cgroup.path().size());
    hierarchy.erase(0, hierarchy.rfind('/') + 1);
    options += "external mnt[" + std::string(protocol::kOwnCgroupMount) + hierarchy + "]:" + directory + "\n";
  }
  return options;
}

}  // namespace

const char* Container::NameOf(Phase phase) {
  switch (phase) {
    case Phase::kStarting:
      return "starting";
    case Phase::kCreated:
      return "created";
    case Phase::kRunning:
      return "running";
    case Phase::kPaused:
      return "paused";
    case Phase::kStopped:
      return "stopped";
  }
  return "";
}

Container::Container(protocol::ShimConfig config, std::string directory, EventLoop* loop, ShimLog* log,
                     Cgroup cgroup)
    : config_(std::move(config)),
      directory_(std::move(directory)),
      loop_(loop),
      log_(log),
      cgroup_(std::move(cgroup)),
      runtime_({.path = config_.runtime,
                .root = config_.runtime_root,
                .arguments = config_.runtime_arguments,
                .criu = config_.criu,
                .work_directory = directory_}) {
  table_ = std::make_unique<ProcessTable>(ProcessTable::Surroundings{
      .loop = loop_, .events = &events_, .log = log_, .cgroup = &cgroup_, .directory = directory_});
  table_->OnInitEnded([this] { OnInitEnded(); });
  table_->OnInitReported([this](const protocol::ExitRecord& record) { OnInitReported(record); });
}

StatusOr<std::unique_ptr<Container>> Container::Open(protocol::ShimConfig config, std::string directory,
                                                     EventLoop* loop, ShimLog* log) {
  STASIS_ASSIGN_OR_RETURN(Cgroup cgroup,
                          Cgroup::Open(config.cgroup_path.empty() ? "/" + config.id : config.cgroup_path));
  std::unique_ptr<Container> container(
      new Container(std::move(config), std::move(directory), loop, log, std::move(cgroup)));
  const protocol::ShimConfig& kept = container->config_;
  if (!kept.log_path.empty()) {
    STASIS_ASSIGN_OR_RETURN(JsonLog container_log,
                            JsonLog::Open(kept.log_path, kept.log_max_size, kept.log_max_files));
    container->container_log_.emplace(std::move(container_log));
  }
  return container;
}

Container::~Container() = default;

// ---- What the verbs share.

void Container::SetPhase(Phase phase) {
  loop_->Call([&] {
    if (phase_ != Phase::kStopped) phase_ = phase;  // nothing comes after the end
  });
}

Container::Phase Container::phase() {
  Phase phase = Phase::kStarting;
  loop_->Call([&] { phase = phase_; });
  return phase;
}

StatusOr<VerbLock::Hold> Container::Acquire(VerbLock::Kind kind, std::stop_token cancel) {
  return verbs_.Acquire(kind, After(kRestoreLimit), std::move(cancel));
}

OciLimits Container::Limits(std::chrono::milliseconds limit) {
  std::lock_guard lock(mutex_);
  return {.deadline = After(limit), .cancel = operation_stop_.get_token()};
}

StatusOr<pid_t> Container::Run(const Launch& launch) {
  std::optional<ConsoleSocket> console;
  if (launch.stdio.terminal) {
    STASIS_ASSIGN_OR_RETURN(ConsoleSocket made,
                            ConsoleSocket::Create(directory_, "console-" + std::to_string(++consoles_)));
    console.emplace(std::move(made));
  }
  STASIS_ASSIGN_OR_RETURN(std::unique_ptr<ProcessStreams> streams,
                          ProcessStreams::Create(loop_, launch.stdio, launch.log));
  OciStreams ends = streams->child_ends();
  if (console) ends.console_socket = console->path();
  STASIS_ASSIGN_OR_RETURN(pid_t pid, launch.run(ends));
  streams->CloseChildEnds();

  Status status;
  if (console) {
    StatusOr<UniqueFd> master = console->Receive(After(kConsoleLimit), {});
    status = master.ok() ? streams->SetTerminal(*std::move(master)) : master.status();
  }
  if (status.ok()) {
    loop_->Call(
        [&] { status = table_->Add(launch.id, pid, launch.args, std::move(streams), launch.started); });
  }
  if (status.ok()) return pid;
  ::kill(pid, SIGKILL);  // our child, not reaped yet: an operation is under way
  return status;
}

protocol::ShimState Container::State() {
  protocol::ShimState state;
  state.version = protocol::kVersion;
  loop_->Call([&] {
    state.status = NameOf(phase_);
    state.started_at = started_at_;
    state.exit = exit_;
    for (const auto& [id, process] : table_->processes()) {
      if (!process.handle) continue;
      if (id == protocol::kInit) {
        state.pid = process.handle->pid();
        continue;
      }
      state.execs.push_back({.process = id,
                             .pid = process.handle->pid(),
                             .terminal = process.streams && process.streams->terminal(),
                             .args = process.args});
    }
  });
  std::lock_guard lock(mutex_);
  state.checkpointing = checkpointing_;
  return state;
}

// ---- From nothing to running.

StatusOr<pid_t> Container::Create(std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(VerbLock::Hold hold, Acquire(VerbLock::Kind::kAlone, cancel));
  if (phase() != Phase::kStarting) return FailedPrecondition("the container was created already");
  if (config_.restore) {
    if (!Exists(config_.restore->directory)) {
      return NotFound("no checkpoint in " + config_.restore->directory);
    }
    SetPhase(Phase::kCreated);
    return 0;
  }
  Operation operation(loop_, table_.get());
  Launch launch{.id = protocol::kInit,
                .stdio = config_.stdio,
                .log = container_log_ ? &*container_log_ : nullptr,
                .args = ReadArguments(config_.bundle),
                .started = "",
                .run = [&](const OciStreams& ends) {
                  return runtime_.Create(config_.id, config_.bundle, config_.no_pivot, ends,
                                         Limits(kRuntimeLimit));
                }};
  StatusOr<pid_t> pid = Run(launch);
  if (pid.ok()) {
    SetPhase(Phase::kCreated);
    ::malloc_trim(0);  // a spec is large, and not needed again
  } else {
    CleanUpFailedStart();
  }
  return pid;
}

StatusOr<pid_t> Container::Start(const OnProgress& progress, std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(VerbLock::Hold hold, Acquire(VerbLock::Kind::kAlone, cancel));
  if (phase() != Phase::kCreated) return FailedPrecondition("the container is " + State().status);
  Operation operation(loop_, table_.get());
  if (config_.restore) return Restore(progress);
  pid_t pid = 0;
  loop_->Call([&] {
    if (ProcessTable::Process* init = table_->Find(protocol::kInit)) pid = init->handle->pid();
    table_->SetHeld(protocol::kInit, true);
  });
  Status status = runtime_.Start(config_.id, Limits(kRuntimeLimit));
  loop_->Call([&] {
    if (status.ok()) {
      if (phase_ == Phase::kCreated) phase_ = Phase::kRunning;
      started_at_ = absl::Now();
      table_->AddEvent("start-container", protocol::kInit);
    }
    table_->SetHeld(protocol::kInit, false);
  });
  STASIS_RETURN_IF_ERROR(status);
  return pid;
}

// Beside our programs; src/criu/preload says what it does. No restore without it: it keeps CRIU inside the
// container's file systems.
StatusOr<std::string> Container::CriuPreload() const {
  std::string library =
      config_.checkpointer.substr(0, config_.checkpointer.rfind('/') + 1) + "stasis-criu-preload.so";
  if (!Exists(library)) return FailedPrecondition(library + ": missing; no restore is safe without it");
  // The loader takes both for the end of a name, and goes on without the library.
  if (library.find_first_of(": ") != library.npos) {
    return FailedPrecondition(library + ": cannot be loaded into CRIU, for the colon or blank in its name");
  }
  return library;
}

Status Container::OpenCheckpoint(RestoredCheckpoint* checkpoint, OciRestore* restore,
                                 const std::stop_token& cancel) {
  if (config_.checkpointer.empty()) return Unimplemented("this shim was given no checkpointer");
  STASIS_RETURN_IF_ERROR(RemoveTree(restore->images));  // of a shim that was killed
  STASIS_RETURN_IF_ERROR(MakeDirectories(restore->images));
  const protocol::RestorePlan plan = {.checkpoint = config_.restore->directory,
                                      .store = config_.restore->store,
                                      .images = restore->images,
                                      .socket = directory_ + "/restore.sock",
                                      .container_id = config_.id,
                                      .host_name = ReadHostName(config_.bundle)};
  restore->criu_environment["STASIS_RESTORE_SOCKET"] = plan.socket;
  return checkpoint->Open(plan, cancel);
}

StatusOr<pid_t> Container::Restore(const OnProgress& progress) {
  // While CRIU works and the checkpointer has nothing to say, whoever asked hears that it does.
  std::jthread reporter([&](std::stop_token stop) {
    std::mutex mutex;
    std::unique_lock lock(mutex);
    std::condition_variable_any never;
    while (!never.wait_for(lock, stop, kProgressInterval, [&] { return stop.stop_requested(); })) {
      if (progress) progress(Json::object());
    }
  });
  OciRestore restore;
  const auto directories = protocol::RestoreDirectories::Of(config_, directory_);
  restore.work = directories.work;
  restore.images = directories.images;
  // One token for all of it: a kill between two steps counts for the next as well.
  const OciLimits limits = Limits(kRestoreLimit);
  const absl::Cleanup remove_images = [&] { log_->IfError("remove the images", RemoveTree(restore.images)); };
  restore.empty_namespaces = config_.restore->empty_namespaces;
  restore.shell_job = true;  // does nothing where the dump did without
  std::string criu_options = directory_ + "/criu.conf";
  STASIS_ASSIGN_OR_RETURN(std::string options, CriuOptions(cgroup_));
  STASIS_RETURN_IF_ERROR(WriteFileAtomically(criu_options, options));
  restore.criu_environment = {{"CRIU_CONFIG_FILE", criu_options},
                              {"STASIS_KERNDAT", protocol::KerndatFile(config_.runtime_root)}};
  STASIS_ASSIGN_OR_RETURN(restore.criu_environment["LD_PRELOAD"], CriuPreload());
  RestoredCheckpoint checkpoint(config_.checkpointer, progress, log_);
  STASIS_RETURN_IF_ERROR(OpenCheckpoint(&checkpoint, &restore, limits.cancel));
  STASIS_ASSIGN_OR_RETURN(const RestoreLimit limit, RestoreLimit::Raise(config_.bundle));
  Launch launch{.id = protocol::kInit,
                .stdio = config_.stdio,
                .log = container_log_ ? &*container_log_ : nullptr,
                .args = ReadArguments(config_.bundle),
                .started = "start-container",
                .run = [&](const OciStreams& ends) -> StatusOr<pid_t> {
                  StatusOr<pid_t> pid =
                      runtime_.Restore(config_.id, config_.bundle, config_.no_pivot, ends, restore, limits);
                  // CRIU says no more than that it could not go on. Where it did, it had everything.
                  const Status failure = checkpoint.Failure();
                  if (!pid.ok()) return failure.ok() ? pid : failure;
                  // At once, so that it runs as little as can be: CRIU can only bring it back running.
                  if (config_.restore->paused) {
                    STASIS_RETURN_IF_ERROR(cgroup_.Freeze(After(kKillLimit), {}));
                  }
                  log_->IfError("set the limit of processes again",
                                limit.SetAgain(runtime_, config_.id, Limits(kRuntimeLimit)));
                  return pid;
                }};
  StatusOr<pid_t> pid = Run(launch);
  if (!pid.ok()) {
    CleanUpFailedStart();
    return pid;
  }
  loop_->Call([&] {
    started_at_ = absl::Now();
    if (phase_ == Phase::kCreated) phase_ = config_.restore->paused ? Phase::kPaused : Phase::kRunning;
  });
  ::malloc_trim(0);
  return pid;
}

// The clean-up has limits of its own: the caller's may be used up.
void Container::CleanUpFailedStart() {
  log_->IfError("kill what was started", cgroup_.KillAll(After(kKillLimit)));
  loop_->Call([&] { table_->KillStrangers(); });
  log_->IfError("runc delete", runtime_.Delete(config_.id, /*force=*/true, {.deadline = After(kKillLimit)}));
  log_->IfError("remove the cgroup", cgroup_.Remove());
  SetPhase(Phase::kStopped);
}

// ---- The end.

void Container::OnInitEnded() {
  CancelCheckpoint(/*wait=*/false);
  if (checkpoint_kills_) table_->SetInitReason(protocol::kEndedByCheckpoint);
  // Without a pid namespace of its own, or with a runtime killed half-way, others may outlive init.
  sweeper_ = std::jthread([this] { cgroup_.KillAll(After(kKillLimit)).IgnoreError(); });
}

void Container::OnInitReported(const protocol::ExitRecord& record) {
  phase_ = Phase::kStopped;
  exit_ = record;
  if (container_log_ && container_log_->dropped_lines() > 0) {
    log_->Line("lines of the log that could not be written: " +
               std::to_string(container_log_->dropped_lines()));
  }
  std::lock_guard lock(mutex_);
  reported_ = true;
  changed_.notify_all();
}

Status Container::Delete(bool force, std::stop_token cancel) {
  if (force) {
    STASIS_RETURN_IF_ERROR(KillEverything(/*all=*/true));
  }
  STASIS_ASSIGN_OR_RETURN(VerbLock::Hold hold, Acquire(VerbLock::Kind::kAlone, cancel));
  bool stopped = false;
  bool never_ran = false;
  loop_->Call([&] {
    never_ran = phase_ == Phase::kStarting || (phase_ == Phase::kCreated && !table_->Find(protocol::kInit));
    stopped = phase_ == Phase::kStopped;
  });
  if (!stopped && !never_ran) {
    if (!force) return FailedPrecondition("the container is " + State().status);
    std::unique_lock lock(mutex_);
    if (!changed_.wait_until(lock, cancel, After(kKillLimit), [&] { return reported_; })) {
      return DeadlineExceeded("the container's processes do not end");
    }
  }
  Operation operation(loop_, table_.get());
  STASIS_RETURN_IF_ERROR(cgroup_.KillAll(After(kKillLimit)));
  // With force, runc waits 0.1 s for the end of processes before it looks; there are none any more.
  if (!runtime_.Delete(config_.id, /*force=*/false, {.deadline = After(kRuntimeLimit)}).ok()) {
    STASIS_RETURN_IF_ERROR(runtime_.Delete(config_.id, /*force=*/true, {.deadline = After(kRuntimeLimit)}));
  }
  return cgroup_.Remove();
}

}  // namespace stasis
