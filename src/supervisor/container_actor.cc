#include "supervisor/container_actor.h"

#include <errno.h>
#include <signal.h>

#include <utility>

#include "base/log.h"
#include "linux/cgroup.h"
#include "linux/files.h"
#include "supervisor/spec_json.h"

namespace stasis::supervisor {
namespace {

// A restore reports its progress; an ordinary start has none to report.
constexpr std::chrono::minutes kStartQuiet{2};
// Lack of progress. The shim's own limit (shim/checkpoint_run.cc) is shorter and says more; its undoing takes
// its time too.
constexpr std::chrono::seconds kCheckpointQuiet{90};
// A process that waits for its attach waits 10 s; a pause waits for a freeze.
constexpr std::chrono::seconds kCallQuiet{60};

// What a container's processes have that is in no file, shared memory apart, which CRIU saves. 0: not known.
uint64_t MemoryToSave(const std::string& cgroup_path) {
  const auto cgroup = Cgroup::Open(cgroup_path);
  if (!cgroup.ok()) return 0;
  const auto stats = cgroup->Stats();
  if (!stats.ok()) return 0;
  for (const char* name : {"anon", "total_rss"}) {  // cgroup v2, v1
    const auto found = stats->memory_stat.find(name);
    if (found != stats->memory_stat.end()) return found->second;
  }
  return 0;
}

ShimLimits CallLimits(std::stop_token cancel) { return {.quiet = kCallQuiet, .cancel = std::move(cancel)}; }

protocol::Stdio StdioOf(const types::AddProcessRequest& request) {
  return {.stdin_fifo = request.stdin(),
          .stdout_fifo = request.stdout(),
          .stderr_fifo = request.stderr(),
          .terminal = request.terminal(),
          .open_stdin = request.open_stdin(),
          .stdin_once = request.open_stdin(),  // the client that feeds an exec is its only one
          .width = request.width(),
          .height = request.height()};
}

types::Process ProcessOf(const types::AddProcessRequest& request) {
  types::Process process;
  process.set_pid(request.pid());
  process.set_terminal(request.terminal());
  *process.mutable_user() = request.user();
  *process.mutable_args() = request.args();
  *process.mutable_env() = request.env();
  process.set_cwd(request.cwd());
  process.set_stdin(request.stdin());
  process.set_stdout(request.stdout());
  process.set_stderr(request.stderr());
  *process.mutable_capabilities() = request.capabilities();
  process.set_apparmorprofile(request.apparmorprofile());
  process.set_selinuxlabel(request.selinuxlabel());
  process.set_nonewprivileges(request.nonewprivileges());
  *process.mutable_rlimits() = request.rlimits();
  return process;
}

std::string StatusText(const std::string& status) {
  if (status == "running" || status == "paused") return status;
  return status == "stopped" ? "stopped" : "created";
}

}  // namespace

ContainerActor::ContainerActor(ContainerRecord record, ShimProcess process, EventLog& events, OnGone on_gone)
    : record_(std::move(record)),
      adopted_(false),
      shim_(record_.directory),
      shim_name_(process.name()),
      events_(events),
      on_gone_(std::move(on_gone)),
      process_(std::move(process)),
      phase_(Phase::kCreating) {}

ContainerActor::ContainerActor(ContainerRecord record, std::optional<ShimProcess> process, EventLog& events,
                               OnGone on_gone, std::string shim_name)
    : record_(std::move(record)),
      adopted_(true),
      shim_(record_.directory),
      shim_name_(std::move(shim_name)),
      events_(events),
      on_gone_(std::move(on_gone)),
      process_(std::move(process)),
      phase_(Phase::kLive) {}

ContainerActor::~ContainerActor() = default;

// ---- what clients see

bool ContainerActor::Visible() const {
  std::lock_guard lock(mutex_);
  return phase_ == Phase::kStarting || phase_ == Phase::kLive;
}

bool ContainerActor::Creating() const {
  std::lock_guard lock(mutex_);
  return phase_ == Phase::kCreating;
}

protocol::ShimState ContainerActor::state() const {
  std::lock_guard lock(mutex_);
  return state_;
}

bool ContainerActor::WaitKnown(Deadline deadline) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, deadline, [this] { return known_ || phase_ == Phase::kGone; });
}

types::Container ContainerActor::Describe() const {
  types::Container container;
  container.set_id(id());
  container.set_bundlepath(bundle());
  container.set_runtime(record_.runtime_name);
  container.mutable_labels()->Assign(record_.config.labels.begin(), record_.config.labels.end());
  container.set_attach_socket(shim_.attach_socket());
  if (record_.config.restore) container.set_restored_from(record_.config.restore->directory);
  if (StatusOr<Cgroup> cgroup = Cgroup::Open(record_.config.cgroup_path); cgroup.ok()) {
    if (auto pids = cgroup->Processes(); pids.ok()) {
      for (pid_t pid : *pids) container.add_pids(static_cast<uint32_t>(pid));
    }
  }
  std::lock_guard lock(mutex_);
  container.set_status(StatusText(state_.status));
  container.set_checkpointing(checkpoints_ > 0 || state_.checkpointing);
  container.set_checkpoint_progress(progress_);
  if (container.checkpointing() || (record_.config.restore && Undecided(phase_))) {
    container.set_checkpoint_phase(work_.phase);
    container.set_checkpoint_bytes(work_.bytes);
    const bool is_memory = work_.phase == "memory" || work_.phase == "publish";
    container.set_checkpoint_total(is_memory ? work_.memory : 0);
  }
  if (state_.pid > 0) ToProto(state_.started_at, container.mutable_started_at());
  types::Process* init = container.add_processes();
  *init = record_.init;
  init->set_systempid(static_cast<uint32_t>(state_.pid));
  init->set_stdin(record_.config.stdio.stdin_fifo);
  init->set_stdout(record_.config.stdio.stdout_fifo);
  init->set_stderr(record_.config.stdio.stderr_fifo);
  for (const protocol::ShimState::Exec& exec : state_.execs) {
    types::Process* process = container.add_processes();
    if (auto found = execs_.find(exec.process); found != execs_.end()) *process = found->second;
    process->set_pid(exec.process);
    process->set_systempid(static_cast<uint32_t>(exec.pid));
    process->set_terminal(exec.terminal);
    if (process->args().empty()) process->mutable_args()->Assign(exec.args.begin(), exec.args.end());
  }
  return container;
}

void ContainerActor::SetPhase(Phase phase) {
  std::lock_guard lock(mutex_);
  phase_ = phase;
  changed_.notify_all();
}

// ---- calls

StatusOr<Json> ContainerActor::CallShim(std::string_view method, const Json& params,
                                        const ShimLimits& limits) {
  StatusOr<Json> result = shim_.Call(method, params, limits);
  if (result.ok()) Refresh();
  return result;
}

void ContainerActor::Refresh() {
  std::lock_guard one_at_a_time(refresh_mutex_);
  StatusOr<protocol::ShimState> state = shim_.Hello({});
  if (!state.ok()) return;  // it has ended or will be found dead; what was known stays
  std::lock_guard lock(mutex_);
  state_ = *std::move(state);
  known_ = true;
  changed_.notify_all();
}

Status ContainerActor::Create(std::stop_token cancel) {
  return CallShim("create", Json::object(), CallLimits(std::move(cancel))).status();
}

void ContainerActor::MarkCreated() { SetPhase(Phase::kLive); }

Status ContainerActor::Start(std::stop_token cancel) {
  if (record_.config.restore) {
    std::lock_guard lock(mutex_);
    work_ = {"restore", 0, 0};
  }
  Status started = shim_
                       .Call("start", Json::object(), {.quiet = kStartQuiet, .cancel = std::move(cancel)},
                             [this](const std::string&, const Json& notice) { NoteProgress(notice); })
                       .status();
  if (started.ok()) Refresh();
  // One whose caller was lost, with the supervisor before this one, is brought to its end by the shim.
  if (absl::IsFailedPrecondition(started) && HasStarted()) started = Status();
  if (started.ok()) {
    SetPhase(Phase::kLive);
  } else {
    // With its shim all of it is gone, which is certain: unlike a supervisor's, this end of a call says so.
    if (absl::IsUnavailable(started)) started = Internal("the container's shim died: " + Message(started));
    Discard(Message(started));
  }
  return started;
}

bool ContainerActor::HasStarted() {
  Refresh();
  std::string status = state().status;
  return status == "running" || status == "paused";
}

void ContainerActor::Discard(std::string_view why) {
  bool was_started;
  {
    std::lock_guard lock(mutex_);
    was_started = start_logged_;
  }
  // Only who saw it start is told that it ended.
  protocol::ExitRecord exit{was_started ? protocol::kInit : "", 255, false, absl::Now(), "start failed"};
  DiscardAndTell(why, exit);
}

void ContainerActor::DiscardAndTell(std::string_view why, const protocol::ExitRecord& exit) {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
  SetPhase(Phase::kGone);
  spdlog::info("container {}: discarded: {}", id(), Printable(why));
  Remove(/*force=*/true, {});
  if (!exit.process.empty()) {
    if (Status logged = LogDeath(exit); !logged.ok())
      spdlog::error("container {}: {}", id(), Message(logged));
  }
  events_.Forget(shim_name_);
  on_gone_(id());
}

bool ContainerActor::ClaimUnstarted() {
  std::lock_guard lock(mutex_);
  // Stopped without an exit: a restore failed whose caller was lost.
  const bool unstarted =
      StatusText(state_.status) == "created" || (state_.status == "stopped" && !state_.exit);
  if (phase_ != Phase::kLive || !record_.config.restore || !unstarted) return false;
  phase_ = Phase::kStarting;  // from now on nobody else decides
  return true;
}

Status ContainerActor::Signal(const std::string& process, int signal, bool all, std::stop_token cancel) {
  bool ends = all || (process == protocol::kInit && (signal == SIGKILL || signal == SIGTERM));
  if (ends && ClaimUnstarted()) {
    DiscardAndTell("killed before it was started",
                   {protocol::kInit, 128 + (all ? SIGKILL : signal), false, absl::Now(), ""});
    return {};
  }
  bool starting;
  {
    std::lock_guard lock(mutex_);
    starting = phase_ == Phase::kStarting;
  }
  Status sent = CallShim("kill", {{"process", process}, {"signal", signal}, {"all", all}},
                         CallLimits(std::move(cancel)))
                    .status();
  // It has ended the start that was under way, so there was nothing left to signal.
  if (ends && starting && absl::IsNotFound(sent)) return {};
  // Its shim was killed, and what it left is being cleared up: its exit is told when that is done.
  if (GetErrno(sent) == ECONNREFUSED) return NotFound("container " + id() + ": its shim has died");
  return sent;
}

StatusOr<pid_t> ContainerActor::AddProcess(const types::AddProcessRequest& request, std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(Json spec, ProcessSpec(request));
  protocol::ExecRequest exec{.process = request.pid(),
                             .spec = std::move(spec),
                             .stdio = StdioOf(request),
                             .wait_for_attach = request.wait_for_attach()};
  bool first;  // else the shim refuses it, or its predecessor's exit is not logged yet
  {
    // Before the call: its exit may be logged before the call has returned.
    std::lock_guard lock(mutex_);
    first = execs_.try_emplace(request.pid(), ProcessOf(request)).second;
  }
  StatusOr<Json> result = CallShim("exec", protocol::ToJson(exec), CallLimits(std::move(cancel)));
  pid_t pid = 0;
  Status status = result.status();
  if (result.ok()) {
    JsonReader reader(*result, "exec");
    reader.Get("pid", &pid);
    status = reader.status();
  }
  if (status.ok()) return pid;
  std::lock_guard lock(mutex_);
  if (first) execs_.erase(request.pid());
  return status;
}

Status ContainerActor::Resize(const std::string& process, uint32_t width, uint32_t height,
                              std::stop_token cancel) {
  return shim_
      .Call("resize", {{"process", process}, {"width", width}, {"height", height}},
            CallLimits(std::move(cancel)))
      .status();
}

Status ContainerActor::CloseStdin(const std::string& process, std::stop_token cancel) {
  return shim_.Call("close_stdin", {{"process", process}}, CallLimits(std::move(cancel))).status();
}

Status ContainerActor::Pause(std::stop_token cancel) {
  return CallShim("pause", Json::object(), CallLimits(std::move(cancel))).status();
}

Status ContainerActor::Run(std::stop_token cancel) {
  bool start = false;
  {
    std::lock_guard lock(mutex_);
    if (phase_ == Phase::kGone) return NotFound("No such container: " + id());
    if (phase_ != Phase::kLive) return FailedPrecondition("container " + id() + " is being started");
    // Stopped without an exit: a restore failed whose caller was lost; its start says so and clears up.
    start = StatusText(state_.status) == "created" || (state_.status == "stopped" && !state_.exit);
    if (!start && state_.status != "paused") {
      return FailedPrecondition("container " + id() + " is not paused");
    }
    if (start) phase_ = Phase::kStarting;  // from now on this call decides
  }
  if (start) return Start(std::move(cancel));
  return CallShim("resume", Json::object(), CallLimits(std::move(cancel))).status();
}

Status ContainerActor::Update(const Json& resources, std::stop_token cancel) {
  return shim_.Call("update", resources, CallLimits(std::move(cancel))).status();
}

void ContainerActor::NoteProgress(const Json& notice) {
  ++progress_;
  const std::lock_guard lock(mutex_);
  const std::string before = work_.phase;
  JsonReader reader(notice);
  reader.Get("phase", &work_.phase);
  reader.Get("bytes", &work_.bytes);
  // Where memory has a phase of its own, what comes after it is not memory.
  if (before == "memory" && work_.phase != before) work_.memory = 0;
}

StatusOr<protocol::CheckpointResult> ContainerActor::Checkpoint(const protocol::CheckpointRequest& request,
                                                                std::stop_token cancel) {
  {
    const uint64_t memory = MemoryToSave(record_.config.cgroup_path);
    std::lock_guard lock(mutex_);
    ++checkpoints_;
    work_ = {"", 0, memory};
  }
  StatusOr<Json> result = shim_.Call(
      "checkpoint", protocol::ToJson(request), {.quiet = kCheckpointQuiet, .cancel = std::move(cancel)},
      [this](const std::string&, const Json& notice) { NoteProgress(notice); });
  {
    std::lock_guard lock(mutex_);
    --checkpoints_;
  }
  Refresh();
  if (!result.ok()) return result.status();
  return protocol::CheckpointResultFromJson(*result);
}

}  // namespace stasis::supervisor
