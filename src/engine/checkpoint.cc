// Checkpoints. The engine checks and records; the checkpointer makes them (ARCHITECTURE.md, "The way of a
// checkpoint").
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/log.h"
#include "base/time.h"
#include "criu/losses.h"
#include "engine/engine.h"
#include "engine/progress.h"
#include "engine/record_codec.h"
#include "linux/files.h"
#include "manifest/checkpoint_content.h"
#include "manifest/checkpoint_directory.h"
#include "manifest/checkpoint_owner.h"

namespace stasis::engine {
namespace {

constexpr char kFreezeLabel[] = "stasis.checkpoint.freeze";  // "cow" or "plain"
// How long a container may stand still for its checkpoint: a duration, "10s" or "500ms".
constexpr char kFrozenLimitLabel[] = "stasis.checkpoint.frozen-limit";

// What a checkpoint may be made without although a restored program is less safe then: "landlock,mseal".
constexpr char kAllowLabel[] = "stasis.checkpoint.allow";

StatusOr<uint64_t> FrozenLimit(const ContainerRecord& record) {
  const auto label = record.config.labels.find(kFrozenLimitLabel);
  if (label == record.config.labels.end()) return 0;  // the supervisor's own
  absl::Duration limit;
  if (!absl::ParseDuration(label->second, &limit) || limit <= absl::ZeroDuration() ||
      limit > absl::Hours(1)) {
    return InvalidArgument(std::string("label ") + kFrozenLimitLabel + ": want a duration like 10s, not " +
                           label->second);
  }
  return static_cast<uint64_t>(absl::ToInt64Milliseconds(limit));
}

StatusOr<std::string> Freeze(const ContainerRecord& record, const std::string& wanted) {
  std::string freeze = wanted;
  const auto label = record.config.labels.find(kFreezeLabel);
  if (freeze.empty() && label != record.config.labels.end()) freeze = label->second;
  if (freeze.empty() || freeze == "cow" || freeze == "plain") return freeze;
  return InvalidArgument("invalid freeze (" + freeze + "): want cow or plain");
}

StatusOr<std::vector<std::string>> Allowed(const ContainerRecord& record) {
  const auto label = record.config.labels.find(kAllowLabel);
  if (label == record.config.labels.end()) return std::vector<std::string>();
  const std::vector<std::string> known(std::begin(criu::kAllowable), std::end(criu::kAllowable));
  std::vector<std::string> allowed = absl::StrSplit(label->second, ',', absl::SkipWhitespace());
  for (std::string& kind : allowed) {
    absl::StripAsciiWhitespace(&kind);
    if (std::find(known.begin(), known.end(), kind) != known.end()) continue;
    return InvalidArgument(std::string("label ") + kAllowLabel + ": want some of " +
                           absl::StrJoin(known, ",") + ", not " + kind);
  }
  return allowed;
}

// What is wrong with the request, or with the moment, says so itself; any other failure is the engine's own.
bool TellsOfTheRequest(StatusCode code) {
  switch (code) {
    case StatusCode::kInvalidArgument:
    case StatusCode::kAlreadyExists:
    case StatusCode::kFailedPrecondition:
    case StatusCode::kResourceExhausted:
    case StatusCode::kDeadlineExceeded:
    case StatusCode::kUnavailable:
    case StatusCode::kCancelled:
      return true;
    default:
      return false;
  }
}

std::map<std::string, std::string> ProgressAttributes(const backend::Progress& progress) {
  std::map<std::string, std::string> attributes = {{"phase", progress.phase},
                                                   {"bytes", std::to_string(progress.bytes)},
                                                   {"rate", std::to_string(progress.bytes_per_second)}};
  if (progress.total > 0) attributes["total"] = std::to_string(progress.total);
  return attributes;
}

bool IsBelow(const std::filesystem::path& path, const std::filesystem::path& directory) {
  return std::mismatch(directory.begin(), directory.end(), path.begin(), path.end()).first == directory.end();
}

// A directory that a user named (`named`) may have it of another container.
Status NameIsTaken(const std::string& directory, bool named, const CheckpointName& checkpoint,
                   const ContainerRecord& record, const std::string& asked) {
  const std::string what = "checkpoint with name " + checkpoint.str() + " already exists ";
  const StatusOr<Manifest> manifest = ReadManifest(directory, checkpoint);
  if (!manifest.ok() && !named) return AlreadyExists(what + "for container " + asked);
  if (!manifest.ok()) return AlreadyExists(what + "in " + directory);
  if (manifest->container_id == record.id.str()) return AlreadyExists(what + "for container " + asked);
  const std::string owner = OwnerOf(*manifest).name;
  return AlreadyExists(what + "in " + directory + ", of container " +
                       Printable(owner.empty() ? manifest->container_id.substr(0, 12) : owner));
}

// The end of the engine's part in a checkpoint, however it comes about.
class UnderWay {
 public:
  explicit UnderWay(Container& container) : container_(container) {}
  UnderWay(const UnderWay&) = delete;
  UnderWay& operator=(const UnderWay&) = delete;
  ~UnderWay() { container_.EndCheckpoint(); }

 private:
  Container& container_;
};

}  // namespace

StatusOr<std::string> Engine::CheckpointDirectory(const ContainerRecord& record,
                                                  const std::string& directory) const {
  if (directory.empty()) return options_.paths.Checkpoints(record.id);
  return ForeignDirectory(directory);
}

StatusOr<std::string> Engine::FindStore(const std::string& directory) const {
  if (directory.empty()) return options_.paths.CheckpointStore();
  STASIS_ASSIGN_OR_RETURN(const std::string foreign, ForeignDirectory(directory));
  if (!Exists(foreign)) return NotFound("checkpoint directory " + foreign + " does not exist");
  return OwnStore(foreign);
}

StatusOr<std::string> Engine::ForeignDirectory(const std::string& directory) const {
  if (directory[0] != '/' || directory.find('\0') != std::string::npos) {
    return InvalidArgument("invalid checkpoint directory (" + directory + "): it must be an absolute path");
  }
  std::error_code error;
  const std::filesystem::path real = std::filesystem::weakly_canonical(directory, error);
  if (error) return InvalidArgument("invalid checkpoint directory (" + directory + "): " + error.message());
  const std::filesystem::path root = std::filesystem::weakly_canonical(options_.paths.root, error);
  if (error || IsBelow(real, root)) {
    return InvalidArgument("invalid checkpoint directory (" + directory +
                           "): it is the engine's own, below " + root.string());
  }
  return real.string();
}

std::string Engine::StoreOf(const ContainerRecord& record, const std::string& directory) const {
  const bool own = directory == options_.paths.Checkpoints(record.id) ||
                   directory == options_.paths.ReplacedFiles(record.id);
  return own ? options_.paths.CheckpointStore() : OwnStore(directory);
}

StatusOr<backend::CheckpointCreated> Engine::CreateCheckpoint(const std::string& name,
                                                              const backend::CheckpointCreate& request,
                                                              std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(const CheckpointName checkpoint, CheckpointName::Parse(request.name));
  STASIS_ASSIGN_OR_RETURN(const ContainerRef container, containers_.Find(name));
  const ContainerRecord record = container->Record();
  if (!IsAlive(record.state.phase)) return FailedPrecondition("Container " + name + " not running");
  STASIS_ASSIGN_OR_RETURN(const std::string directory, CheckpointDirectory(record, request.directory));
  const std::string failed = "Cannot checkpoint container " + name;

  StatusOr<std::stop_token> taken_back = container->BeginCheckpoint();
  if (!taken_back.ok()) return Annotate(taken_back.status(), failed);
  const UnderWay under_way(*container);
  STASIS_ASSIGN_OR_RETURN(const bool exists, CheckpointExists(directory, checkpoint));
  if (exists) return NameIsTaken(directory, !request.directory.empty(), checkpoint, record, name);
  const bool made_directory = !Exists(directory);
  STASIS_RETURN_IF_ERROR(Annotate(MakeDirectories(directory), failed));
  if (made_directory) {  // its own name is durable before that of the checkpoint in it
    STASIS_ASSIGN_OR_RETURN(const UniqueFd parent,
                            OpenDirectory(std::filesystem::path(directory).parent_path().string()));
    STASIS_RETURN_IF_ERROR(Annotate(SyncDirectory(parent.get()), failed));
  }

  std::stop_source either;  // the client has left, or somebody wants the container ended
  const std::stop_callback by_client(cancel, [&] { either.request_stop(); });
  const std::stop_callback by_kill(*taken_back, [&] { either.request_stop(); });
  StatusOr<backend::CheckpointCreated> made =
      MakeCheckpoint(*container, checkpoint, directory, request, either.get_token());
  if (made.ok()) return made;
  stores_.CollectSoon(StoreOf(record, directory));  // what a maker that died has left in it
  if (taken_back->stop_requested())
    return FailedPrecondition(failed + ": the container was killed meanwhile");
  if (made_directory) ::rmdir(directory.c_str());  // empty still, or it stays
  if (!TellsOfTheRequest(made.status().code())) made = Internal(Message(made.status()));
  return Annotate(made.status(), failed);
}

StatusOr<backend::CheckpointCreated> Engine::MakeCheckpoint(Container& container, const CheckpointName& name,
                                                            const std::string& directory,
                                                            const backend::CheckpointCreate& wanted,
                                                            std::stop_token cancel) {
  const ContainerRecord record = container.Record();
  const bool exit = wanted.exit;
  types::CreateCheckpointRequest request;
  request.set_id(record.id.str());
  request.set_checkpointdir(directory);
  request.set_store(StoreOf(record, directory));
  if (KeepsFiles(record)) request.set_layer(images_->UpperDirectory(record.id));
  STASIS_ASSIGN_OR_RETURN(const uint64_t frozen_limit, FrozenLimit(record));
  request.set_frozen_limit_ms(frozen_limit);
  STASIS_ASSIGN_OR_RETURN(*request.mutable_freeze(), Freeze(record, wanted.freeze));
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> allowed, Allowed(record));
  request.mutable_allow()->Assign(allowed.begin(), allowed.end());
  request.set_engine_record(EncodeRecord(record));
  types::Checkpoint* checkpoint = request.mutable_checkpoint();
  checkpoint->set_name(name.str());
  checkpoint->set_exit(exit);
  checkpoint->set_tcp(true);
  checkpoint->set_unixsockets(true);
  if (exit) {
    // Written before: the container's end may be seen before the answer is.
    STASIS_RETURN_IF_ERROR(Change(container, [&](ContainerRecord& changed) -> Status {
      changed.exiting_checkpoint = ExitingCheckpoint{name.str(), directory};
      return {};
    }));
  }
  ProgressMeter meter(wanted.on_progress, WorkEvents(record, "checkpoint-progress", name.str()));
  const auto answer = supervisor_->Checkpoint(request, Looks(meter), std::move(cancel));
  Status status = answer.status();
  backend::CheckpointCreated created;
  if (answer.ok()) created.warnings.assign(answer->warnings().begin(), answer->warnings().end());
  if (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status)) {
    // The call broke, which says nothing of the checkpoint.
    StatusOr<Manifest> made = ReadManifest(directory, name);
    if (made.ok() && made->container_id == record.id.str()) {
      status = Status();
      created.warnings = std::move(made->warnings);
    }
  }
  if (exit && status.ok()) {
    // The supervisor's word of the exit may take a moment longer than its answer.
    status =
        container.WaitUntil([](const ContainerRecord& seen, uint64_t) { return !IsAlive(seen.state.phase); },
                            After(std::chrono::seconds(30)), {});
  }
  const auto recorded = [&](ContainerRecord& changed) -> Status {
    if (exit) ResolveExitingCheckpoint(changed);
    return {};
  };
  if (status.ok()) {
    Attributes attributes = {{"checkpoint", name.str()}};
    if (!created.warnings.empty()) attributes["warnings"] = absl::StrJoin(created.warnings, "; ");
    for (const std::string& warning : created.warnings)
      spdlog::warn("container {}: checkpoint {}: {}", record.id.str(), name.str(), Printable(warning));
    STASIS_RETURN_IF_ERROR(RecordFact(container, recorded, "checkpoint", attributes));
    return created;
  }
  if (exit) {
    STASIS_RETURN_IF_ERROR(RecordFact(container, recorded));
  }
  return status;
}

StatusOr<std::vector<std::string>> Engine::ListCheckpoints(const std::string& name,
                                                           const std::string& directory) {
  STASIS_ASSIGN_OR_RETURN(const ContainerRef container, containers_.Find(name));
  STASIS_ASSIGN_OR_RETURN(const std::string where, CheckpointDirectory(container->Record(), directory));
  return ListCheckpointNames(where);
}

Status Engine::DeleteCheckpoint(const std::string& container_name, const std::string& raw_name,
                                const std::string& directory) {
  STASIS_ASSIGN_OR_RETURN(const CheckpointName name, CheckpointName::Parse(raw_name));
  STASIS_ASSIGN_OR_RETURN(const CheckpointPlace place, FindPlace(container_name, name, directory));
  Status status = stasis::DeleteCheckpoint(place.directory, name);
  if (status.ok()) stores_.CollectSoon(place.store);
  if (!absl::IsNotFound(status)) return status;
  return NotFound("checkpoint " + name.str() + " does not exist " + place.owner);
}

backend::OnProgress Engine::StoreEvents(const std::string& store, const std::string& action) {
  return [=, this](const backend::Progress& progress) {
    events_.Publish({"daemon", action, store, ProgressAttributes(progress), absl::Now()});
  };
}

backend::OnProgress Engine::WorkEvents(const ContainerRecord& record, const std::string& action,
                                       const std::string& checkpoint) {
  return [=, this](const backend::Progress& progress) {
    Attributes attributes = ProgressAttributes(progress);
    attributes["checkpoint"] = checkpoint;
    events_.Publish(ContainerEvent(record, action, attributes));
  };
}

StatusOr<backend::CheckpointVerification> Engine::VerifyCheckpoints(const std::string& directory,
                                                                    const backend::OnProgress& on_progress,
                                                                    std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(const std::string store, FindStore(directory));
  ProgressMeter meter(on_progress, StoreEvents(store, "checkpoint-verify-progress"));
  return stores_.Verify(store, meter, cancel);
}

StatusOr<uint64_t> Engine::PruneCheckpoints(const std::string& directory,
                                            const backend::OnProgress& on_progress, std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(const std::string store, FindStore(directory));
  ProgressMeter meter(on_progress, StoreEvents(store, "checkpoint-prune-progress"));
  STASIS_ASSIGN_OR_RETURN(const store::Collected collected, stores_.Collect(store, meter, cancel));
  return collected.bytes;
}

StatusOr<std::vector<backend::CheckpointUsage>> Engine::MeasureCheckpoints(
    const std::string& directory, const backend::OnProgress& on_progress, std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(const std::string store, FindStore(directory));
  ProgressMeter meter(on_progress, StoreEvents(store, "checkpoint-usage-progress"));
  return stores_.Measure(store, meter, cancel);
}

StatusOr<Json> Engine::InspectCheckpoint(const std::string& container_name, const std::string& raw_name,
                                         const std::string& directory) {
  STASIS_ASSIGN_OR_RETURN(const CheckpointName name, CheckpointName::Parse(raw_name));
  STASIS_ASSIGN_OR_RETURN(const CheckpointPlace place, FindPlace(container_name, name, directory));
  STASIS_ASSIGN_OR_RETURN(const Manifest manifest, FindCheckpoint(place, name));
  return ParseJson(ToText(manifest));
}

}  // namespace stasis::engine
