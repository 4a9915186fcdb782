// The verbs on a container that runs.
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>

#include <chrono>
#include <utility>

#include "absl/time/clock.h"
#include "linux/cancel.h"
#include "linux/unix_socket.h"
#include "protocol/journal.h"
#include "protocol/restore_directories.h"
#include "shim/checkpoint_run.h"
#include "shim/container.h"
#include "shim/operation.h"

namespace stasis {
namespace {

constexpr std::chrono::seconds kExecLimit{60};
constexpr std::chrono::seconds kAttachLimit{10};
constexpr std::chrono::seconds kFreezeLimit{10};
constexpr std::chrono::seconds kKillLimit{10};
constexpr std::chrono::seconds kUndoLimit{60};
constexpr int kCheckpointAttempts = 4;
constexpr std::chrono::seconds kLimitsPause{5};

}  // namespace

// ---- exec

StatusOr<pid_t> Container::Exec(const protocol::ExecRequest& request, std::stop_token cancel) {
  Status reserved;
  loop_->Call([&] { reserved = table_->Reserve(request.process); });
  STASIS_RETURN_IF_ERROR(reserved);
  StatusOr<pid_t> pid = RunExec(request, cancel);
  if (!pid.ok()) loop_->Call([&] { table_->Abandon(request.process, pid.status()); });
  return pid;
}

StatusOr<pid_t> Container::RunExec(const protocol::ExecRequest& request, std::stop_token cancel) {
  if (request.wait_for_attach) {
    STASIS_RETURN_IF_ERROR(WaitForAttach(request.process, cancel));
  }
  STASIS_ASSIGN_OR_RETURN(VerbLock::Hold hold, Acquire(VerbLock::Kind::kShared, cancel));
  if (phase() != Phase::kRunning) return FailedPrecondition("the container is " + State().status);
  Json spec = request.spec;
  spec["terminal"] = request.stdio.terminal;
  std::vector<std::string> args;
  JsonReader reader(spec, "spec");
  reader.Get("args", &args);
  STASIS_RETURN_IF_ERROR(reader.status());
  Operation operation(loop_, table_.get());
  return Run({.id = request.process,
              .stdio = request.stdio,
              .log = nullptr,
              .args = std::move(args),
              .started = "start-process",
              .run = [&](OciStreams ends) -> StatusOr<pid_t> {
                // Where nobody gives input, its end at once, by a pipe: unlike init's, runc leaves this stdin
                // as it is, so by a /dev/null the container would have a file of the host's.
                Pipe ended;
                if (ends.input < 0 && ends.console_socket.empty()) {
                  STASIS_ASSIGN_OR_RETURN(ended, MakePipe());
                  ended.write_end.reset();
                  ends.input = ended.read_end.get();
                }
                return runtime_.Exec(config_.id, spec, ends, Limits(kExecLimit));
              }});
}

Status Container::WaitForAttach(const std::string& process, std::stop_token cancel) {
  UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event.valid()) return ErrnoError(errno, "eventfd");
  loop_->Call([&] { table_->NotifyOfAttach(process, event.get()); });
  Status status = WaitFor(event.get(), POLLIN, After(kAttachLimit), cancel).status();
  loop_->Call([&] { table_->ForgetNotify(process); });
  return Annotate(status, "wait for somebody to be attached");
}

void Container::Attach(UniqueFd socket, const protocol::AttachRequest& request) {
  auto client = std::make_shared<std::unique_ptr<AttachClient>>(
      std::make_unique<AttachClient>(std::move(socket), request));
  loop_->Call([&] { table_->Attach(request.process, std::move(*client)); });
}

Status Container::Resize(const std::string& process, uint32_t width, uint32_t height) {
  Status status = NotFound("no such process: " + process);
  loop_->Call([&] {
    ProcessTable::Process* found = table_->Find(process);
    if (found && found->streams) status = found->streams->Resize(width, height);
  });
  return status;
}

Status Container::CloseStdin(const std::string& process) {
  Status status = NotFound("no such process: " + process);
  loop_->Call([&] {
    ProcessTable::Process* found = table_->Find(process);
    if (!found || !found->streams) return;
    found->streams->CloseStdin();
    status = Status();
  });
  return status;
}

// ---- kill

Status Container::Kill(const std::string& process, int signal, bool all, std::stop_token cancel) {
  if (signal < 1 || signal > SIGRTMAX) return InvalidArgument("no such signal: " + std::to_string(signal));
  if (all || (process == protocol::kInit && signal == SIGKILL)) return KillEverything(all);
  // A signal sent while the container stands frozen would become part of the checkpoint.
  STASIS_ASSIGN_OR_RETURN(VerbLock::Hold hold, Acquire(VerbLock::Kind::kShared, cancel));
  return SignalProcess(process, signal);
}

Status Container::SignalProcess(const std::string& process, int signal) {
  Status status = NotFound("no such process: " + process);
  loop_->Call([&] {
    ProcessTable::Process* found = table_->Find(process);
    if (found && !found->ended) status = found->handle->Signal(signal);
  });
  return status;
}

// Waits for no verb: it ends whatever is under way.
Status Container::KillEverything(bool all) {
  {
    std::lock_guard lock(mutex_);
    operation_stop_.request_stop();
    operation_stop_ = std::stop_source();
  }
  CancelCheckpoint(/*wait=*/true);
  if (all) return cgroup_.KillAll(After(kKillLimit));
  STASIS_RETURN_IF_ERROR(SignalProcess(protocol::kInit, SIGKILL));
  // cgroup v1 keeps even SIGKILL from what is frozen.
  Status thawed = cgroup_.Thaw();
  return absl::IsNotFound(thawed) ? Status() : thawed;
}

// ---- pause, resume, update

Status Container::Pause(std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(VerbLock::Hold hold, Acquire(VerbLock::Kind::kAlone, cancel));
  if (phase() != Phase::kRunning) return FailedPrecondition("the container is " + State().status);
  uint64_t thaws = 0;
  STASIS_RETURN_IF_ERROR(cgroup_.Freeze(After(kFreezeLimit), cancel, &thaws));
  if (thaws > 0) log_->Line("pause: the freeze came about after " + std::to_string(thaws) + " thaws");
  SetPhase(Phase::kPaused);
  loop_->Call([&] { table_->AddEvent("pause", protocol::kInit); });
  return {};
}

Status Container::Resume(std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(VerbLock::Hold hold, Acquire(VerbLock::Kind::kAlone, cancel));
  if (phase() != Phase::kPaused) return FailedPrecondition("the container is " + State().status);
  STASIS_RETURN_IF_ERROR(cgroup_.Thaw());
  SetPhase(Phase::kRunning);
  loop_->Call([&] { table_->AddEvent("resume", protocol::kInit); });
  return {};
}

Status Container::Update(const Json& resources, std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(VerbLock::Hold hold, Acquire(VerbLock::Kind::kAlone, cancel));
  Phase now = phase();
  if (now == Phase::kStarting || now == Phase::kStopped) {
    return FailedPrecondition("the container is " + State().status);
  }
  Operation operation(loop_, table_.get());
  return runtime_.Update(config_.id, resources, Limits(kExecLimit));
}

// ---- checkpoint

Status Container::BeginCheckpoint() {
  std::lock_guard lock(mutex_);
  if (checkpointing_) return FailedPrecondition("a checkpoint of this container is already under way");
  checkpointing_ = true;
  checkpoint_stop_ = std::stop_source();
  return {};
}

void Container::EndCheckpoint() {
  std::lock_guard lock(mutex_);
  checkpointing_ = false;
  changed_.notify_all();
}

void Container::CancelCheckpoint(bool wait) {
  std::unique_lock lock(mutex_);
  if (!checkpointing_) return;
  // One that is to end with init's death is not disturbed by it.
  bool expected = false;
  if (!wait) expected = checkpoint_kills_;  // on the loop's thread, which owns it
  if (!expected) checkpoint_stop_.request_stop();
  if (wait) changed_.wait_until(lock, std::stop_token(), After(kUndoLimit), [&] { return !checkpointing_; });
}

StatusOr<protocol::CheckpointPlan> Container::PlanCheckpoint(const protocol::CheckpointRequest& request) {
  protocol::CheckpointPlan plan;
  plan.request = request;
  plan.container_id = config_.id;
  plan.bundle = config_.bundle;
  plan.cgroup_path = cgroup_.path();
  plan.criu = config_.criu;
  plan.shim_directory = directory_;
  plan.failed_log = protocol::RestoreDirectories::Of(config_, directory_).failed_log;
  Phase now = phase();
  plan.paused = now == Phase::kPaused;
  protocol::ShimState state = State();
  plan.init_pid = state.pid;
  for (const protocol::ShimState::Exec& exec : state.execs) {
    std::string words;
    for (const std::string& word : exec.args) words += (words.empty() ? "" : " ") + word;
    plan.exec_processes.push_back(exec.process + " (" + words + ")");
  }
  if ((now == Phase::kRunning || now == Phase::kPaused) && plan.init_pid > 1) return plan;
  return FailedPrecondition("the container is " + state.status + ", not running");
}

// CRIU thaws what its user had paused, and the freeze afterwards may fail: then it runs, and that is said.
void Container::NoteIfThawed() {
  const StatusOr<bool> frozen = cgroup_.Frozen();
  if (!frozen.ok() || *frozen) return;
  log_->Line("the container was paused and could not be frozen again: it runs");
  SetPhase(Phase::kRunning);
  loop_->Call([&] { table_->AddEvent("resume", protocol::kInit); });
}

// One of memory that the container has outgrown, while it was raised, can be set once it has shrunk.
void Container::SetLimitsLater() {
  const Status status = protocol::SetLimitsAgain(directory_);
  if (status.ok()) return;
  log_->Line("limits are still raised, and tried again: " + Message(status));
  limits_ = std::jthread([this](std::stop_token stop) {
    while (absl::IsDeadlineExceeded(WaitFor(-1, 0, After(kLimitsPause), stop).status())) {
      if (!protocol::SetLimitsAgain(directory_).ok()) continue;
      log_->Line("the limits are set again");
      return;
    }
  });
}

StatusOr<protocol::CheckpointResult> Container::Checkpoint(const protocol::CheckpointRequest& request,
                                                           const OnProgress& progress,
                                                           std::stop_token cancel) {
  if (config_.checkpointer.empty()) return Unimplemented("this shim was given no checkpointer");
  STASIS_RETURN_IF_ERROR(BeginCheckpoint());
  limits_ = std::jthread();  // the journal is ours from here on
  std::stop_source stop = [&] {
    std::lock_guard lock(mutex_);
    return checkpoint_stop_;
  }();
  std::stop_callback on_hang_up(cancel, [&] { stop.request_stop(); });
  Operation operation(loop_, table_.get());
  std::optional<VerbLock::Hold> alone;
  protocol::CheckpointRequest wanted = request;
  StatusOr<protocol::CheckpointResult> result = Internal("not tried");
  const auto passes = [&] { return absl::IsUnavailable(result.status()); };
  const auto again = [&] { return absl::IsAborted(result.status()) || passes(); };
  for (int attempt = 0; attempt == 0 || (again() && attempt < kCheckpointAttempts); ++attempt) {
    StatusOr<protocol::CheckpointPlan> plan = PlanCheckpoint(wanted);
    if (!plan.ok()) {
      result = plan.status();
      break;
    }
    bool changed = false;
    CheckpointHooks hooks;
    hooks.before_freeze = [&]() -> Status {
      STASIS_ASSIGN_OR_RETURN(VerbLock::Hold hold, Acquire(VerbLock::Kind::kAlone, stop.get_token()));
      changed = (phase() == Phase::kPaused) != plan->paused;
      if (changed) return MakeError(StatusCode::kAborted, "paused or resumed meanwhile");
      alone.emplace(std::move(hold));
      loop_->Call([&] { checkpoint_kills_ = request.exit; });
      return {};
    };
    hooks.after_thaw = [&] { alone.reset(); };
    hooks.progress = progress;
    result = RunCheckpoint(*plan, {.checkpointer = config_.checkpointer, .cgroup = &cgroup_, .log = log_},
                           hooks, stop.get_token());
    const bool ended = result.ok() && request.exit;
    if (plan->paused && !ended) NoteIfThawed();
    alone.reset();
    if (passes()) {
      log_->Line("checkpoint again: " + Message(result.status()));
    } else if (again() && !changed) {
      log_->Line("no copy on write: " + Message(result.status()));
      wanted.freeze = protocol::kFreezePlain;
      wanted.freeze_reason = Message(result.status());
    }
  }
  if (!result.ok()) loop_->Call([&] { checkpoint_kills_ = false; });
  if (passes()) result = Internal(Message(result.status()));  // it did not
  SetLimitsLater();
  EndCheckpoint();
  return result;
}

}  // namespace stasis
