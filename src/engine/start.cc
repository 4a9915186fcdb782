// Run or restore a container.
#include <algorithm>
#include <csignal>
#include <thread>

#include "base/log.h"
#include "engine/bundle.h"
#include "engine/engine.h"
#include "engine/network_sysctls.h"
#include "engine/progress.h"
#include "engine/record_codec.h"
#include "engine/restore_check.h"
#include "engine/supervisor_link.h"
#include "engine/validate.h"
#include "linux/cpu_features.h"
#include "linux/files.h"
#include "linux/namespaces.h"
#include "manifest/checkpoint_directory.h"

namespace stasis::engine {
namespace {

// A root stays mounted that long after its run. Mount namespaces that other containers are just being started
// in hold copies of it for a moment: unmounted and mounted again at once, there would be two overlays over
// one layer, of which the kernel promises nothing (seen: a restore that did not find its own files).
constexpr std::chrono::seconds kRootKept{20};

// What Docker's clients make of a start that failed: 127 where the command is not there, 126 where it cannot
// be run.
int FailureCode(const Status& why) {
  const std::string message = Message(why);
  const auto says = [&](const char* text) { return message.find(text) != std::string::npos; };
  if (says("executable file not found") || says("no such file or directory")) return 127;
  if (says("permission denied") || says("not a directory") || says("is a directory") ||
      says("exec format error")) {
    return 126;
  }
  return 128;
}

// Errors of the image's or the user's own are the request's fault, not the engine's.
Status AsStartError(const Status& why) {
  if (FailureCode(why) == 128 || why.code() != StatusCode::kInternal) return why;
  return InvalidArgument(Message(why));
}

}  // namespace

StatusOr<backend::Change> Engine::Start(const std::string& name, const backend::StartOptions& options,
                                        std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(const ContainerRef container, containers_.Find(name));
  STASIS_ASSIGN_OR_RETURN(const Turn turn, container->TakeTurn(std::move(cancel)));
  const ContainerRecord record = container->Record();
  if (record.unreadable)
    return FailedPrecondition("container " + record.name + " cannot be started: " + record.state.error);
  switch (record.state.phase) {
    case Phase::kRunning:
      if (options.checkpoint.empty()) return backend::Change::kAlreadySo;
      return FailedPrecondition("Container " + record.name + " is already running");
    case Phase::kPaused:
      return FailedPrecondition(options.checkpoint.empty()
                                    ? "cannot start a paused container, try unpause instead"
                                    : "Container " + record.name + " is already running");
    case Phase::kRemoving:
    case Phase::kDead:
      return FailedPrecondition("container is marked for removal and cannot be started");
    case Phase::kCreated:
    case Phase::kExited:
    case Phase::kRestarting:
      break;
  }
  // A client that leaves does not end the start; only a removal by force does.
  Status status = Launch(*container, options, turn.cancel());
  if (status.ok()) return backend::Change::kDone;
  if (turn.cancel().stop_requested())
    return Cancelled("the start of container " + record.name + " was cancelled: it is being removed");
  if (record.host_config.auto_remove && options.checkpoint.empty()) {
    // Before the error is told: whoever gets it finds the container gone.
    if (const Status removed = RemoveWithTurn(container); !removed.ok())
      spdlog::error("--rm: {}", Message(removed));
  }
  return AsStartError(status);
}

Status Engine::Launch(Container& container, const backend::StartOptions& options, std::stop_token cancel) {
  const ContainerRecord record = container.Record();
  STASIS_ASSIGN_OR_RETURN(std::optional<RestorePoint> restore, FindRestorePoint(record, options));
  STASIS_RETURN_IF_ERROR(EndLeftovers(record.id));
  STASIS_RETURN_IF_ERROR(RevertFilesOfDeadStart(record.id));
  container.BeginStarting();
  Status status = Boot(container, record, restore, options.on_progress, std::move(cancel));
  if (status.ok()) status = RecordRunning(container, restore);
  const bool told = !absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status);
  if (!status.ok()) {
    // A container that was made but does not run; one that the supervisor never had is not an error here.
    supervisor_->Signal(record.id.str(), "init", SIGKILL, true).IgnoreError();
    RecordFailedStart(container, status);
    container.EndStarting();
    container.EndRun();
    ReleaseRunResources(container.shared_from_this());
    // Where the call broke, the restore may go on, with these files: Adopt sees what came of it, or the next
    // start.
    if (told) RevertFiles(record.id);
    return status;
  }
  const std::optional<std::string> kept = KeepRestoredFiles(record);
  if (kept && options.on_files_kept) options.on_files_kept(*kept);
  container.ConnectAttachments(true);  // those that came since
  if (const std::optional<Exit> exit = container.EndStarting()) {
    HandleExit(container.shared_from_this(), *exit, {});
  }
  return {};
}

StatusOr<std::optional<Engine::RestorePoint>> Engine::FindRestorePoint(const ContainerRecord& record,
                                                                       const backend::StartOptions& options) {
  if (options.checkpoint.empty()) {
    if (!options.checkpoint_dir.empty()) {
      return InvalidArgument("checkpoint-dir is given without the name of a checkpoint");
    }
    return std::optional<RestorePoint>();
  }
  STASIS_ASSIGN_OR_RETURN(const CheckpointName name, CheckpointName::Parse(options.checkpoint));
  STASIS_ASSIGN_OR_RETURN(const std::string directory, CheckpointDirectory(record, options.checkpoint_dir));
  STASIS_ASSIGN_OR_RETURN(const bool exists, CheckpointExists(directory, name));
  if (!exists) {
    if (options.checkpoint_dir.empty() &&
        Exists(CheckpointPath(options_.paths.ReplacedFiles(record.id), name))) {
      return InvalidArgument("checkpoint " + name.str() +
                             " holds files and no processes: 'stasis checkpoint undo " + record.name + " " +
                             name.str() + "' brings them back");
    }
    return NotFound("checkpoint " + name.str() + " does not exist for container " + record.name);
  }
  STASIS_ASSIGN_OR_RETURN(Manifest manifest, ReadManifest(directory, name));
  std::optional<ContainerRecord> saved;
  if (!manifest.engine_record.empty()) {
    StatusOr<DecodedRecord> read = DecodeRecord(manifest.engine_record);
    STASIS_RETURN_IF_ERROR(Annotate(read.status(), "checkpoint " + name.str() + ": its container's record"));
    saved = std::move(read->record);
  }
  ReadProgramVersions();
  STASIS_RETURN_IF_ERROR(
      CheckRestore(manifest, saved, record, {host_.architecture, CpuFeatures(), criu_version_}));
  RestorePoint restore{name.str(), directory, manifest.paused};
  if (manifest.layer && KeepsFiles(record)) restore.files = std::move(manifest);
  return std::optional<RestorePoint>(std::move(restore));
}

// Everything here is undone by Launch when a step fails.
Status Engine::Boot(Container& container, const ContainerRecord& record,
                    const std::optional<RestorePoint>& restore, const backend::OnProgress& on_progress,
                    std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(const image::Image image, images_->Find(record.image_id));
  UniqueFd put_back;
  if (restore && restore->files) {
    STASIS_ASSIGN_OR_RETURN(put_back, PutFilesBack(record, *restore, cancel));
  }
  // What is answered is on the disk (ADR 9): it gets there while CRIU works.
  Status synced;
  std::jthread sync;
  if (put_back.get() >= 0) sync = std::jthread([&] { synced = SyncFiles(put_back); });
  STASIS_RETURN_IF_ERROR(images_->CreateRoot(record.id, image));  // one that was adopted may have none
  STASIS_ASSIGN_OR_RETURN(const std::string root, images_->MountRoot(record.id, image));
  STASIS_ASSIGN_OR_RETURN(const Network network, PrepareNetwork(record, restore.has_value()));
  if (network.joined) {
    STASIS_RETURN_IF_ERROR(TakeNames(container, *network.joined));
  }
  const ContainerRecord named = container.Record();
  STASIS_RETURN_IF_ERROR(
      WriteBundle({.record = &named,
                   .paths = &options_.paths,
                   .host = &host_,
                   .root = root,
                   .network_namespace = network.path,
                   .joined = network.joined ? std::optional(network.joined->id) : std::nullopt,
                   .restore = restore.has_value()}));
  STASIS_ASSIGN_OR_RETURN(const types::CreateContainerRequest request, PlanRun(record, restore));
  STASIS_ASSIGN_OR_RETURN(const types::Container made, supervisor_->Create(request, cancel));
  container.SetAttachSocket(made.attach_socket());
  container.ConnectAttachments(!restore);  // before it runs: none of its output is missed
  if (!restore) return supervisor_->Run(record.id.str(), {}, cancel);
  ProgressMeter meter(on_progress,
                      WorkEvents(record, "restore-progress",
                                 ShownCheckpoint(record.id, restore->directory + "/" + restore->name)));
  Status status = supervisor_->Run(record.id.str(), Looks(meter), cancel);
  if (sync.joinable()) sync.join();
  status.Update(synced);
  return status;
}

StatusOr<types::CreateContainerRequest> Engine::PlanRun(const ContainerRecord& record,
                                                        const std::optional<RestorePoint>& restore) const {
  STASIS_ASSIGN_OR_RETURN(const LogRotation rotation, ParseLogOptions(record.host_config));
  types::CreateContainerRequest request;
  request.set_id(record.id.str());
  request.set_bundlepath(options_.paths.Bundle(record.id));
  if (record.host_config.log_driver != "none") request.set_log_path(options_.paths.Log(record.id));
  request.set_log_max_size(rotation.max_size);
  request.set_log_max_files(rotation.max_files);
  request.set_open_stdin(record.config.open_stdin);
  request.set_stdin_once(record.config.stdin_once);
  request.set_create_only(true);
  if (restore) {
    request.set_checkpoint(restore->name);
    request.set_checkpointdir(restore->directory);
    request.set_checkpoint_store(StoreOf(record, restore->directory));
    request.set_restore_paused(restore->paused);
  }
  return request;
}

// Whoever joins another's network is known there by that one's names, as with Docker.
Status Engine::TakeNames(Container& container, const ContainerRecord& other) {
  return Change(container, [&](ContainerRecord& record) -> Status {
    record.config.hostname = other.config.hostname;
    record.config.domainname = other.config.domainname;
    return {};
  });
}

StatusOr<Engine::Network> Engine::PrepareNetwork(const ContainerRecord& record, bool restore) {
  STASIS_ASSIGN_OR_RETURN(const network::Mode mode, network::ParseMode(record.host_config.network_mode));
  switch (mode.kind) {
    case network::ModeKind::kHost:
      return Network();
    case network::ModeKind::kOwn:
      STASIS_RETURN_IF_ERROR(networks_.Ensure(record.id, OwnNetworkSysctls(record.host_config)));
      return Network{networks_.PathOf(record.id)};
    case network::ModeKind::kContainer:
      break;
  }
  STASIS_ASSIGN_OR_RETURN(const ContainerRef other, containers_.Find(mode.container));
  const ContainerRecord other_record = other->Record();
  if (other->id() == record.id) return InvalidArgument("cannot join own network");
  if (!IsAlive(other_record.state.phase)) {
    return FailedPrecondition("cannot join network of a non running container: " + other->id().str());
  }
  if (other_record.host_config.network_mode.rfind("container:", 0) == 0) {
    return FailedPrecondition("cannot join network of " + mode.container +
                              ": it has joined another's itself");
  }
  if (other_record.host_config.network_mode == "host") return Network{.path = {}, .joined = other_record};
  const std::string path = networks_.PathOf(other->id());
  // At a fresh start runc does it.
  if (restore) {
    STASIS_RETURN_IF_ERROR(WriteNetworkSysctls(path, WantedNetworkSysctls(record.host_config)));
  }
  return Network{path, other_record};
}

std::string Engine::ShownCheckpoint(const ContainerId& id, const std::string& path) const {
  const std::string own = options_.paths.Checkpoints(id) + "/";
  return path.starts_with(own) ? path.substr(own.size()) : path;
}

Status Engine::RecordRunning(Container& container, const std::optional<RestorePoint>& restore) {
  STASIS_ASSIGN_OR_RETURN(const std::vector<types::Container> found,
                          supervisor_->State(container.id().str()));
  int pid = 0;  // it may have ended already
  absl::Time started_at = container.starting_since();
  for (const types::Container& one : found) {
    if (one.has_started_at()) started_at = std::max(started_at, FromProto(one.started_at()));
    for (const types::Process& process : one.processes()) {
      if (process.pid() == "init") pid = static_cast<int>(process.systempid());
    }
  }
  const std::string checkpoint =
      restore ? ShownCheckpoint(container.id(), restore->directory + "/" + restore->name) : "";
  Attributes attributes;
  if (restore) attributes["checkpoint"] = checkpoint;
  return Change(
      container,
      [&](ContainerRecord& record) -> Status {
        const Phase phase = restore && restore->paused ? Phase::kPaused : Phase::kRunning;
        if (!CanMove(record.state.phase, phase)) {
          return FailedPrecondition("container " + record.name + " is being removed");
        }
        record.state.phase = phase;
        record.state.pid = pid;
        record.state.exit_code = 0;
        record.state.oom_killed = false;
        record.state.error.clear();
        record.state.started_at = started_at;
        record.state.checkpoint = checkpoint;
        record.stopped_by_user = false;
        record.ended_by_checkpoint = false;
        record.exiting_checkpoint.reset();
        return {};
      },
      "start", attributes);
}

void Engine::RecordFailedStart(Container& container, const Status& why) {
  const auto failed = [&](ContainerRecord& record) -> Status {
    record.state.phase = record.state.started_at == absl::InfinitePast() ? Phase::kCreated : Phase::kExited;
    record.state.pid = 0;
    record.state.exit_code = FailureCode(why);
    record.state.error = Message(why);
    return {};
  };
  if (Status status = RecordFact(container, failed); !status.ok()) {
    spdlog::error("container {}: {}", container.id().str(), Message(status));
  }
}

void Engine::ReleaseRunResources(const ContainerRef& container) {
  if (Status status = networks_.Remove(container->id()); !status.ok()) {
    spdlog::warn("container {}: {}", container->id().str(), Message(status));
  }
  const uint64_t starts = container->starts();
  PostWithTurn(container, kRootKept, [this, container, starts](const auto&) {
    if (container->starts() != starts || IsAlive(container->phase())) return;
    if (Status status = images_->UnmountRoot(container->id()); !status.ok()) {
      spdlog::warn("container {}: {}", container->id().str(), Message(status));
    }
  });
}

}  // namespace stasis::engine
