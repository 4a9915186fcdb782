#include "checkpoint/checkpoint.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "checkpoint/description.h"
#include "checkpoint/freeze.h"
#include "checkpoint/work_files.h"
#include "criu/log.h"
#include "criu/outside_peers.h"
#include "criu/settings.h"
#include "criu/thread_settings.h"
#include "criu/timer_images.h"
#include "criu/verdict.h"
#include "criu/watches.h"
#include "linux/files.h"
#include "manifest/checkpoint_content.h"
#include "manifest/checkpoint_directory.h"

namespace stasis::checkpoint {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds kCriuStart{30};   // for its start and probing
constexpr std::chrono::seconds kPathSearch{3};   // for the paths of watched files and of sockets
constexpr std::chrono::milliseconds kLook{200};  // between looks at the progress of a dump
constexpr std::chrono::seconds kGentleEnd{1};    // for CRIU to come to a point where it ends unharmed
constexpr std::chrono::seconds kKill{10};        // for a container's processes to be gone
constexpr std::chrono::seconds kTwins{10};       // to close what they hold open

uint64_t MicrosecondsSince(steady_clock::time_point from) {
  auto passed = std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - from);
  return static_cast<uint64_t>(passed.count());
}

// In nanoseconds since 1970. 0: there is none, or its file system does not tell.
int64_t MadeAt(const std::string& directory) {
  struct statx state = {};
  if (directory.empty() ||
      ::statx(AT_FDCWD, directory.c_str(), AT_SYMLINK_NOFOLLOW, STATX_BTIME, &state) != 0 ||
      (state.stx_mask & STATX_BTIME) == 0)
    return 0;
  return state.stx_btime.tv_sec * 1'000'000'000 + state.stx_btime.tv_nsec;
}

// Plain it may be had.
Status NotByUs(const Status& why) { return MakeError(StatusCode::kAborted, Message(why)); }

}  // namespace

Checkpoint::Checkpoint(protocol::CheckpointPlan plan, std::string preload, OnProgress on_progress)
    : plan_(std::move(plan)),
      preload_(std::move(preload)),
      work_(plan_.shim_directory + "/criu"),
      on_progress_(std::move(on_progress)),
      journal_(plan_.shim_directory),
      began_(steady_clock::now()) {}

Checkpoint::~Checkpoint() { Cancel(); }

// ---- the three verbs, each one list

Status Checkpoint::DoPrepare(const std::stop_token& cancel) {
  STASIS_RETURN_IF_ERROR(MakeDirectories());
  STASIS_RETURN_IF_ERROR(JudgeProcesses());
  // Without the library CRIU alone decides.
  if (!preload_.empty() && plan_.request.unix_sockets) {
    STASIS_ASSIGN_OR_RETURN(outside_peers_, criu::FindOutsidePeers(processes_, work_ + kOutsidePeersFile,
                                                                   After(kPathSearch), cancel));
  }
  const std::string runtime_state =
      RuntimeRoot(plan_.shim_directory) + "/" + plan_.container_id + "/state.json";
  STASIS_ASSIGN_OR_RETURN(view_, ReadContainerView(plan_.bundle, plan_.init_pid, runtime_state));
  STASIS_RETURN_IF_ERROR(HandOverWatches(cancel));
  STASIS_RETURN_IF_ERROR(ChooseSource());
  STASIS_RETURN_IF_ERROR(JudgeLosses());
  STASIS_RETURN_IF_ERROR(ReadFiles(cancel));
  STASIS_RETURN_IF_ERROR(StartCriu(cancel));
  STASIS_RETURN_IF_ERROR(BeginDump());
  // CRIU's own start and probing of the kernel are over before anything stands still.
  return AwaitNotification("pre-dump", "prepare", cancel);
}

Status Checkpoint::DoFreeze(const std::stop_token& cancel) {
  // Once more, since time has passed; the manifest shows these.
  STASIS_ASSIGN_OR_RETURN(members_, cgroup_->Processes());
  STASIS_ASSIGN_OR_RETURN(processes_, criu::ReadProcessTree(plan_.init_pid));
  STASIS_RETURN_IF_ERROR(SaveSettings());
  manifest_.prepare_us = MicrosecondsSince(began_);
  if (source_ == Source::kTwins) limits_ = cgroup_->Limits();
  changed_ = true;
  STASIS_RETURN_IF_ERROR(Note());  // first: if we die from here on, the shim thaws
  STASIS_RETURN_IF_ERROR(RaiseLimits());
  Hurry();
  frozen_since_ = steady_clock::now();
  frozen_deadline_ = frozen_since_ + FrozenLimit(plan_.request);
  // By ourselves: CRIU would poll the freezer in steps of 0.1 s. A stopped process that is frozen cannot be
  // seized: then CRIU holds them by itself.
  if (!stopped_) {
    STASIS_ASSIGN_OR_RETURN(const auto freeze,
                            FreezeContainer(*cgroup_, plan_.paused, processes_, work_ + "/" + kWaitsFile,
                                            frozen_deadline_, cancel));
    frozen_since_ = freeze.since;
    manifest_.thaws = freeze.thaws;
  }
  STASIS_RETURN_IF_ERROR(Answer(true));
  STASIS_RETURN_IF_ERROR(AwaitNotification("post-dump", "dump", cancel));
  STASIS_RETURN_IF_ERROR(criu::MendFileNames(staging_->images(), work_ + kSocketsFile, outside_peers_,
                                             processes_, std::min(frozen_deadline_, After(kPathSearch)),
                                             cancel));
  manifest_.dump_us = MicrosecondsSince(frozen_since_);
  unread_ = criu::UnreadDatagrams(plan_.init_pid);
  return FinishFiles(cancel);
}

Status Checkpoint::DoFinish(const std::stop_token& cancel) {
  if (!GoesOn()) {
    frozen_deadline_ = kNoDeadline;
    STASIS_RETURN_IF_ERROR(BringTaskImages());
  }
  if (source_ == Source::kProcesses) {
    STASIS_RETURN_IF_ERROR(SaveHiddenMemory(cancel));
  }
  if (plan_.request.exit) {
    // Published while the processes still stand: whatever fails up to here, they run on.
    manifest_.frozen_us = MicrosecondsSince(frozen_since_);
    STASIS_RETURN_IF_ERROR(Publish(cancel));
    KillContainer();
    return absl::OkStatus();
  }
  STASIS_RETURN_IF_ERROR(LetGo(cancel));
  if (source_ == Source::kTwins) {
    STASIS_RETURN_IF_ERROR(MakeTwins());
  }
  STASIS_RETURN_IF_ERROR(EndFreeze());
  manifest_.frozen_us = MicrosecondsSince(frozen_since_);
  session_->End(After(kGentleEnd));
  session_.reset();
  if (GoesOn()) {
    STASIS_RETURN_IF_ERROR(BringTaskImages());
  }
  if (source_ == Source::kTwins) {
    on_progress_("publish", 0);  // it runs on
    STASIS_RETURN_IF_ERROR(SaveHiddenMemory(cancel));
  }
  return Publish(cancel);
}

// ---- steps

Status Checkpoint::MakeDirectories() {
  STASIS_ASSIGN_OR_RETURN(CheckpointName name, CheckpointName::Parse(plan_.request.name));
  if (!plan_.request.directory.starts_with('/'))
    return InvalidArgument("the checkpoint directory: want an absolute path");
  STASIS_ASSIGN_OR_RETURN(cgroup_, Cgroup::Open(plan_.cgroup_path));
  STASIS_ASSIGN_OR_RETURN(staging_, Staging::Create(plan_.request.directory, name));
  STASIS_RETURN_IF_ERROR(Note());
  STASIS_ASSIGN_OR_RETURN(writer_, store::Writer::Start(plan_.request.store));
  STASIS_RETURN_IF_ERROR(RemoveTree(work_));
  STASIS_RETURN_IF_ERROR(stasis::MakeDirectories(work_));
  STASIS_ASSIGN_OR_RETURN(work_fd_, OpenDirectory(work_));
  progress_.emplace(staging_->images_path(), work_ + "/" + kDumpLogFile, on_progress_);
  return absl::OkStatus();
}

Status Checkpoint::ChooseSource() {
  manifest_.freeze = protocol::kFreezePlain;
  const bool goes_on = GoesOn();
  manifest_.freeze_reason = WhyPlain(plan_.request, preload_, goes_on && stopped_);
  if (!manifest_.freeze_reason.empty()) return absl::OkStatus();
  source_ = goes_on ? Source::kTwins : Source::kProcesses;
  manifest_.freeze = goes_on ? protocol::kFreezeCow : protocol::kFreezeDirect;
  // The processes themselves have everything.
  const std::string shown = goes_on ? ShowWhatTwinsLack(processes_, &shown_) : "";
  return WriteFileAtomically(work_ + kShownMemoryFile, shown);
}

Status Checkpoint::ReadFiles(const std::stop_token& cancel) {
  if (plan_.request.layer.empty()) return absl::OkStatus();
  auto on_bytes = [this, notices = ByteNotices("prepare", on_progress_)](uint64_t bytes) mutable -> Status {
    notices.Add(bytes);
    if (steady_clock::now() < frozen_deadline_) return absl::OkStatus();
    return FrozenTooLong(plan_.request, "while its changed files were read");
  };
  STASIS_ASSIGN_OR_RETURN(files_, ContainerFiles::Open(plan_, *cgroup_, writer_.get(), std::move(on_bytes)));
  return files_->Read(cancel);
}

Status Checkpoint::FinishFiles(const std::stop_token& cancel) {
  if (!files_) return absl::OkStatus();
  const auto began = steady_clock::now();
  STASIS_RETURN_IF_ERROR(files_->Finish(cancel));
  manifest_.files_us = MicrosecondsSince(began);
  return absl::OkStatus();
}

Status Checkpoint::HandOverWatches(const std::stop_token& cancel) {
  std::vector<criu::Watch> watches = criu::ReadWatches(processes_);
  if (watches.empty()) return absl::OkStatus();
  has_watches_ = true;
  auto paths = criu::FindWatchedPaths(processes_, watches, After(kPathSearch), cancel);
  return WriteFileAtomically(work_ + "/" + criu::kIrmapCacheFile, criu::IrmapCache(paths));
}

Status Checkpoint::StartCriu(const std::stop_token& cancel) {
  if (auto images = TaskImages::Make(); images.ok() && !preload_.empty())
    task_images_.emplace(*std::move(images));
  criu::Program program = CriuProgram(plan_.criu, preload_, work_, source_ != Source::kCriu);
  program.kerndat = protocol::KerndatFile(RuntimeRoot(plan_.shim_directory));
  program.layer_made = MadeAt(plan_.request.layer);
  program.task_images = task_images_ ? task_images_->path() : "";
  STASIS_ASSIGN_OR_RETURN(session_, criu::Session::Start(program));
  STASIS_RETURN_IF_ERROR(Note());
  STASIS_ASSIGN_OR_RETURN(criu::Version version, session_->AskVersion(After(kCriuStart), cancel));
  STASIS_RETURN_IF_ERROR(CheckVersion(version));
  manifest_.criu_version = version.Text();
  return absl::OkStatus();
}

Status Checkpoint::BeginDump() {
  STASIS_RETURN_IF_ERROR(WriteFileAtomically(staging_->images_path() + "/" + kDescriptorsFile,
                                             DumpJson(view_.stdio_descriptors)));
  const protocol::CheckpointRequest& request = plan_.request;
  criu::DumpOptions options;
  options.process = plan_.init_pid;
  options.images_directory = staging_->images();
  options.work_directory = work_fd_.get();
  options.log_file = kDumpLogFile;
  options.root = view_.root;
  if (!stopped_) options.freezer = cgroup_->FreezerDirectory();
  options.leave_running = !request.exit;
  options.tcp_established = request.tcp;
  options.external_unix_sockets = request.unix_sockets;
  options.shell_job = request.shell;
  options.force_irmap = has_watches_;
  STASIS_ASSIGN_OR_RETURN(options.empty_namespaces, EmptyNamespaces(request.empty_namespaces));
  options.freeze_timeout_s =
      static_cast<uint32_t>(std::clamp<uint64_t>(request.frozen_limit_ms / 1000, 1, 3600));
  options.external = view_.external;
  options.external_mounts = view_.mounts;
  return session_->BeginDump(options);
}

// Just before the freeze, since it takes some time for many threads and descriptors.
Status Checkpoint::SaveSettings() {
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> cgroup, cgroup_->Directories());
  for (const auto& [file, settings] :
       {std::pair(criu::kThreadSettingsFile, criu::ReadThreadSettings(processes_, cgroup)),
        std::pair(criu::kSettingsFile, criu::ReadSettings(processes_))}) {
    if (settings.empty()) continue;
    STASIS_RETURN_IF_ERROR(WriteFileAtomically(staging_->images_path() + "/" + file, settings));
  }
  return absl::OkStatus();
}

// By what the container could at most use twice: each page that it writes while its copies live.
Status Checkpoint::RaiseLimits() {
  uint64_t bytes = 16 << 20;
  for (const criu::Process& process : processes_)
    bytes += process.resident_bytes + process.resident_bytes / 64;
  std::vector<CgroupLimit> raised(limits_.rbegin(), limits_.rend());
  for (CgroupLimit& limit : raised)
    limit.value += limit.of == CgroupLimit::Of::kMemory ? bytes : processes_.size();
  const Status status = SetLimits(raised);
  return status.ok() ? status : NotByUs(status);
}

// One cannot be set while the container itself uses more by now: then all stay in the journal.
Status Checkpoint::SetLimitsAgain() {
  STASIS_RETURN_IF_ERROR(SetLimits(limits_));
  limits_.clear();
  return Note();
}

// CRIU takes its hands off the processes; the cgroup is still frozen.
Status Checkpoint::LetGo(const std::stop_token& cancel) {
  STASIS_RETURN_IF_ERROR(Answer(true));
  return AwaitEnd("thaw", cancel);
}

// CRIU has let go of the processes, and has frozen them again.
Status Checkpoint::MakeTwins() {
  const auto began = steady_clock::now();
  // To read the tree takes long where it is large; where nobody has come or gone it is the one of before.
  STASIS_ASSIGN_OR_RETURN(const std::vector<pid_t> members, cgroup_->Processes());
  if (members != members_) {
    STASIS_ASSIGN_OR_RETURN(processes_, criu::ReadProcessTree(plan_.init_pid));
  }
  auto twins = Twins::Make(processes_, *cgroup_, frozen_deadline_);
  if (!twins.ok()) return NotByUs(twins.status());
  twins_.emplace(*std::move(twins));
  manifest_.copy_us = MicrosecondsSince(began);
  return absl::OkStatus();
}

// CRIU writes nothing more of a process.
Status Checkpoint::BringTaskImages() {
  if (!task_images_) return absl::OkStatus();
  STASIS_RETURN_IF_ERROR(Annotate(task_images_->BringInto(staging_->images()), "write CRIU's images"));
  task_images_.reset();
  return absl::OkStatus();
}

Status Checkpoint::SaveHiddenMemory(const std::stop_token& cancel) {
  const auto began = steady_clock::now();
  ByteNotices notices("memory", on_progress_);
  const auto on_bytes = [&](uint64_t bytes) {
    notices.Add(bytes);
    return CheckCriuHolds();
  };
  const MemoryTarget target = {staging_->images(), writer_.get(), &manifest_.files, on_bytes};
  const auto save = [&]() -> Status {
    if (twins_) return SaveMemory(*twins_, shown_, target, cancel);
    STASIS_ASSIGN_OR_RETURN(processes_, criu::ReadProcessTree(plan_.init_pid));
    return SaveMemory(processes_, target, cancel);
  };
  if (twins_) {
    if (const Status quiet = twins_->Quieten(After(kTwins)); !quiet.ok()) return NotByUs(quiet);
    STASIS_RETURN_IF_ERROR(JudgeTwins());
  }
  Status status = save();
  STASIS_RETURN_IF_ERROR(CheckCriuHolds());
  if (absl::IsCancelled(status) || absl::IsResourceExhausted(status)) return status;
  if (!status.ok()) return NotByUs(status);
  manifest_.memory_us = MicrosecondsSince(began);
  if (!twins_) return absl::OkStatus();
  twins_.reset();
  SetLimitsAgain().IgnoreError();  // else the journal has them, and the shim tries again
  return absl::OkStatus();
}

// CRIU's own files into the store.
Status Checkpoint::SaveImages(const std::stop_token& cancel) {
  if (auto log = ReadFile(work_ + "/" + kDumpLogFile); log.ok()) {
    criu::FindLossesInLog(criu::ParseLog(*log), processes_, &losses_);
    STASIS_RETURN_IF_ERROR(WriteFileAtomically(staging_->images_path() + "/" + kDumpLogFile, *log));
  }
  STASIS_RETURN_IF_ERROR(criu::MendTimers(staging_->images(), work_ + kLateSignalsFile));
  if (const std::string protections = protections_.Text(processes_); !protections.empty()) {
    STASIS_RETURN_IF_ERROR(
        WriteFileAtomically(staging_->images_path() + "/" + criu::kProtectionsFile, protections));
  }
  on_progress_("publish", 0);
  ByteNotices notices("publish", on_progress_);
  STASIS_RETURN_IF_ERROR(AddFiles(
      staging_->images(), writer_.get(), &manifest_.files, [&](uint64_t bytes) { notices.Add(bytes); },
      cancel));
  if (files_) {
    STASIS_RETURN_IF_ERROR(files_->Save(&manifest_));
  }
  STASIS_RETURN_IF_ERROR(writer_->Commit());
  manifest_.bytes = manifest_.layer_bytes;
  for (const ManifestFile& file : manifest_.files) manifest_.bytes += file.content.size;
  manifest_.stored_bytes = writer_->stored_bytes();
  return staging_->RemoveImages();
}

Status Checkpoint::Publish(const std::stop_token& cancel) {
  STASIS_RETURN_IF_ERROR(SaveImages(cancel));
  criu::FindUnreadDatagrams(unread_, processes_, &losses_);
  manifest_.warnings = losses_.Warnings();
  Describe(plan_, view_, processes_, &manifest_);
  manifest_.total_us = MicrosecondsSince(began_);
  STASIS_RETURN_IF_ERROR(WriteManifest(staging_->path(), manifest_));
  STASIS_RETURN_IF_ERROR(CheckCriuHolds());
  if (cancel.stop_requested()) return Cancelled("the checkpoint was cancelled");
  return staging_->Publish();
}

// From here on the checkpoint is published, and the container has to go, by CRIU or else by us. A process
// that not even SIGKILL ends at once (it waits for a dead disk) ends when it wakes: the checkpoint is good
// all the same.
void Checkpoint::KillContainer() {
  static_cast<void>(Answer(true));
  static_cast<void>(AwaitEnd("kill", {}));
  session_->End(After(kGentleEnd));
  session_.reset();
  static_cast<void>(cgroup_->KillAll(After(kKill)));
}

// ---- talking to CRIU

StatusOr<criu::Event> Checkpoint::Await(std::string_view phase, const std::stop_token& cancel) {
  for (;;) {
    auto event = session_->Next(std::min(frozen_deadline_, After(kLook)), cancel);
    // To look at all images takes its time where there are many: only while CRIU has nothing to say.
    if (event.ok()) return event;
    auto now = steady_clock::now();
    progress_->Look(phase, now);
    if (absl::IsUnavailable(event.status()))
      return Internal(Message(event.status()) + " in the midst of the " + std::string(phase));
    if (!absl::IsDeadlineExceeded(event.status())) return event.status();
    if (now >= frozen_deadline_)
      return FrozenTooLong(plan_.request, "and CRIU was not done: " + progress_->Describe(now));
    if (progress_->Stalled(now)) return DeadlineExceeded("CRIU stands still: " + progress_->Describe(now));
  }
}

Status Checkpoint::AwaitNotification(std::string_view name, std::string_view phase,
                                     const std::stop_token& cancel) {
  for (;;) {
    STASIS_ASSIGN_OR_RETURN(criu::Event event, Await(phase, cancel));
    if (event.done) return Failed(event.error);
    criu_waits_ = true;
    if (event.notification == name) return absl::OkStatus();
    STASIS_RETURN_IF_ERROR(Answer(true));  // "network-lock" and the like: nothing to do
  }
}

Status Checkpoint::AwaitEnd(std::string_view phase, const std::stop_token& cancel) {
  for (;;) {
    STASIS_ASSIGN_OR_RETURN(criu::Event event, Await(phase, cancel));
    if (event.done) return event.success ? absl::OkStatus() : Failed(event.error);
    criu_waits_ = true;
    STASIS_RETURN_IF_ERROR(Answer(true));
  }
}

Status Checkpoint::Answer(bool success) {
  criu_waits_ = false;
  Status sent = session_->Answer(success);
  return sent.ok() ? sent : Internal("criu has ended: " + Message(sent));
}

Status Checkpoint::Failed(std::string_view criu_error) const {
  const auto log = criu::ReadLog(work_ + "/" + kDumpLogFile);
  const std::string path = KeepLog(work_ + "/" + kDumpLogFile, plan_.failed_log);
  const Status why = criu::ExplainDump(log.value_or(criu::Log{}), processes_, path, criu_error);
  return criu::ExplainFullDisk(why, {staging_->images_path(), work_});
}

// Without its tracer the container runs on, past what the images hold.
Status Checkpoint::CheckCriuHolds() const {
  if (session_ && session_->process().Ended()) return Internal("criu died after the dump");
  return absl::OkStatus();
}

// ---- the verbs

Status Checkpoint::Enter(Phase from) const {
  if (phase_ == from) return absl::OkStatus();
  return FailedPrecondition("checkpointer: prepare, freeze and finish come in this order");
}

Status Checkpoint::Prepare(std::stop_token cancel) {
  Status status = Enter(Phase::kNew);
  if (status.ok()) status = DoPrepare(cancel);
  if (!status.ok()) return Undo(std::move(status));
  phase_ = Phase::kPrepared;
  return status;
}

Status Checkpoint::Freeze(std::stop_token cancel) {
  Status status = Enter(Phase::kPrepared);
  if (status.ok()) status = DoFreeze(cancel);
  if (!status.ok()) return Undo(std::move(status));
  phase_ = Phase::kFrozen;
  return status;
}

StatusOr<protocol::CheckpointResult> Checkpoint::Finish(std::stop_token cancel) {
  Status status = Enter(Phase::kFrozen);
  if (status.ok()) status = DoFinish(cancel);
  if (!status.ok()) return Undo(std::move(status));
  phase_ = Phase::kDone;
  if (limits_.empty()) static_cast<void>(journal_.Clear());  // it names what is published, and undoes nothing
  static_cast<void>(RemoveTree(work_));                      // a copy of the log is in the checkpoint
  return protocol::CheckpointResult{manifest_.frozen_us, manifest_.bytes, manifest_.warnings};
}

void Checkpoint::Cancel() {
  if (phase_ != Phase::kDone) static_cast<void>(Undo(Cancelled("the checkpoint was cancelled")));
}

}  // namespace stasis::checkpoint
