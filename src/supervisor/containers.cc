#include "supervisor/containers.h"

#include <optional>
#include <utility>

#include "base/log.h"
#include "linux/files.h"
#include "supervisor/bundle.h"
#include "supervisor/checkpoints.h"

namespace stasis::supervisor {
namespace {

constexpr char kSupervisorFile[] = "supervisor.json";
constexpr std::chrono::seconds kPredecessorLimit{40};
constexpr std::chrono::seconds kKnownLimit{3};

// The config and our file, put in place by one rename: a shim's directory is whole or absent.
Status WriteShimDirectory(const ContainerRecord& record) {
  const std::string& directory = record.directory;
  const std::string parent = directory.substr(0, directory.rfind('/'));
  STASIS_ASSIGN_OR_RETURN(TemporaryDirectory aside, TemporaryDirectory::Create(parent, ".new-"));
  STASIS_RETURN_IF_ERROR(WriteFileAtomically(aside.path() + "/" + protocol::kShimConfigFile,
                                             DumpJson(protocol::ToJson(record.config))));
  Json ours = {{"runtime", record.runtime_name}, {"create_only", record.create_only}};
  STASIS_RETURN_IF_ERROR(WriteFileAtomically(aside.path() + "/" + kSupervisorFile, DumpJson(ours)));
  STASIS_ASSIGN_OR_RETURN(UniqueFd shims, OpenDirectory(parent));
  STASIS_RETURN_IF_ERROR(
      PublishByRename(shims.get(), aside.path().substr(parent.size() + 1), shims.get(), record.config.id));
  aside.Release();
  return {};
}

StatusOr<ContainerRecord> ReadShimDirectory(const std::string& directory) {
  ContainerRecord record;
  record.directory = directory;
  STASIS_ASSIGN_OR_RETURN(std::string text, ReadFile(directory + "/" + protocol::kShimConfigFile));
  STASIS_ASSIGN_OR_RETURN(Json config, ParseJson(text));
  STASIS_ASSIGN_OR_RETURN(record.config, protocol::ShimConfigFromJson(config));
  STASIS_ASSIGN_OR_RETURN(text, ReadFile(directory + "/" + kSupervisorFile));
  STASIS_ASSIGN_OR_RETURN(Json ours, ParseJson(text));
  JsonReader reader(ours, kSupervisorFile);
  reader.Get("runtime", &record.runtime_name);
  reader.Get("create_only", &record.create_only);
  STASIS_RETURN_IF_ERROR(reader.status());
  STASIS_ASSIGN_OR_RETURN(BundleId id, BundleId::Parse(record.config.id));
  // Its bundle may have gone: the container is still one of ours.
  if (StatusOr<Bundle> bundle = ReadBundle(record.config.bundle, id); bundle.ok()) {
    record.init = bundle->process;
  } else {
    record.init.set_pid(protocol::kInit);
  }
  return record;
}

}  // namespace

Containers::Containers(std::string state_directory, Programs programs, EventLog& events)
    : shims_directory_(state_directory + "/shims"),
      runtime_root_(state_directory + "/runc"),
      programs_(std::move(programs)),
      events_(events) {}

Containers::~Containers() {
  decltype(actors_) actors;
  {
    std::lock_guard lock(mutex_);
    actors.swap(actors_);
  }
  actors.clear();  // stops and joins their threads, which may still call Forget
}

// ---- at the start

Status Containers::Adopt() {
  STASIS_RETURN_IF_ERROR(MakeDirectories(shims_directory_));
  STASIS_RETURN_IF_ERROR(MakeDirectories(runtime_root_));
  STASIS_ASSIGN_OR_RETURN(std::vector<std::string> names, ListDirectory(shims_directory_));
  for (const std::string& name : names) {
    if (name[0] == '.') {  // of a creation that got no further than its files
      STASIS_RETURN_IF_ERROR(RemoveTree(shims_directory_ + "/" + name));
    } else {
      AdoptOne(name);
    }
  }
  // So that the first State shows them as they are. A shim that is stuck holds it up no longer than this.
  const Deadline deadline = After(kKnownLimit);
  for (const auto& actor : List()) actor->WaitKnown(deadline);
  return {};
}

void Containers::AdoptOne(const std::string& id) {
  const std::string directory = shims_directory_ + "/" + id;
  StatusOr<ContainerRecord> record = ReadShimDirectory(directory);
  if (!record.ok() || record->config.id != id) {
    spdlog::error("{}: left alone: {}", Printable(directory),
                  record.ok() ? "of another id" : Message(record.status()));
    return;
  }
  std::optional<ShimProcess> process;
  std::string shim_name;
  if (StatusOr<ShimProcess> found = ShimProcess::Find(directory); found.ok()) {
    shim_name = found->name();
    process.emplace(*std::move(found));
  } else {
    shim_name = ReadFile(directory + "/" + protocol::kShimPidFile, 256).value_or("");
    while (!shim_name.empty() && shim_name.back() == '\n') shim_name.pop_back();
  }
  spdlog::info("container {}: found again, its shim {}", id, process ? "serves" : "is dead");
  auto actor = std::make_shared<ContainerActor>(
      *std::move(record), std::move(process), events_, [this](const std::string& gone) { Forget(gone); },
      std::move(shim_name));
  {
    std::lock_guard lock(mutex_);
    actors_[id] = actor;
  }
  actor->Follow();
}

// ---- creation

StatusOr<types::Container> Containers::Create(const types::CreateContainerRequest& request,
                                              std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(BundleId id, BundleId::Parse(request.id()));
  STASIS_ASSIGN_OR_RETURN(ContainerRecord record, Plan(id, request));
  STASIS_RETURN_IF_ERROR(Reserve(id.str(), cancel));
  StatusOr<types::Container> created = CreateReserved(std::move(record), cancel);
  if (!created.ok()) Forget(id.str());
  return created;
}

StatusOr<ContainerRecord> Containers::Plan(const BundleId& id,
                                           const types::CreateContainerRequest& request) const {
  STASIS_ASSIGN_OR_RETURN(Bundle bundle, ReadBundle(request.bundlepath(), id));
  ContainerRecord record;
  record.directory = shims_directory_ + "/" + id.str();
  record.init = bundle.process;
  record.runtime_name = request.runtime();
  record.create_only = request.create_only();
  protocol::ShimConfig& config = record.config;
  config.version = protocol::kVersion;
  config.id = id.str();
  config.bundle = bundle.path;
  // A name ("runc", "docker-runc") means ours; a path is taken at its word.
  bool path = !request.runtime().empty() && request.runtime()[0] == '/';
  config.runtime = path ? request.runtime() : programs_.runc;
  config.runtime_root = runtime_root_;
  config.runtime_arguments.assign(request.runtimeargs().begin(), request.runtimeargs().end());
  config.no_pivot = request.nopivotroot();
  config.criu = programs_.criu;
  config.checkpointer = programs_.checkpointer;
  config.cgroup_path = bundle.cgroup_path;
  config.stdio = {.stdin_fifo = request.stdin(),
                  .stdout_fifo = request.stdout(),
                  .stderr_fifo = request.stderr(),
                  .terminal = bundle.terminal,
                  .open_stdin = request.open_stdin(),
                  .stdin_once = request.stdin_once(),
                  .width = request.width(),
                  .height = request.height()};
  config.log_path = request.log_path();
  config.log_max_size = request.log_max_size();
  config.log_max_files = std::max(request.log_max_files(), 1u);
  config.labels.assign(request.labels().begin(), request.labels().end());
  if (!request.checkpoint().empty()) {
    STASIS_ASSIGN_OR_RETURN(
        config.restore, FindCheckpoint(request.checkpointdir(), bundle.path, request.checkpoint(), id.str()));
    if (!request.checkpoint_store().empty()) config.restore->store = request.checkpoint_store();
    config.restore->paused = request.restore_paused();
  }
  return record;
}

// The id is ours when this has succeeded, until Forget.
Status Containers::Reserve(const std::string& id, std::stop_token cancel) {
  std::unique_lock lock(mutex_);
  auto gone = [&] {
    auto found = actors_.find(id);
    return found == actors_.end() || (found->second && found->second->Visible());
  };
  // Not shown and not gone: being created, which is a conflict at once, or being removed, which ends soon.
  auto found = actors_.find(id);
  if (found != actors_.end() && found->second && !found->second->Creating()) {
    removed_.wait_until(lock, cancel, After(kPredecessorLimit), gone);
  }
  if (!actors_.try_emplace(id, nullptr).second) return AlreadyExists("container " + id + " exists already");
  return {};
}

StatusOr<types::Container> Containers::CreateReserved(ContainerRecord record, std::stop_token cancel) {
  const std::string id = record.config.id;
  const std::string directory = record.directory;
  const bool create_only = record.create_only;
  STASIS_RETURN_IF_ERROR(WriteShimDirectory(record));
  StatusOr<ShimProcess> process = ShimProcess::Start(programs_.shim, directory, cancel);
  if (!process.ok()) {
    RemoveTree(directory).IgnoreError();  // what is left is removed at the next start
    return process.status();
  }
  auto actor = std::make_shared<ContainerActor>(std::move(record), *std::move(process), events_,
                                                [this](const std::string& gone) { Forget(gone); });
  {
    std::lock_guard lock(mutex_);
    actors_[id] = actor;
  }
  if (Status created = actor->Create(cancel); !created.ok()) {
    actor->Discard(Message(created));
    return created;
  }
  // From here on its events are logged: its init may end before it was even started.
  actor->Follow();
  if (create_only) {
    actor->MarkCreated();
  } else {
    STASIS_RETURN_IF_ERROR(actor->Start(cancel));
  }
  return actor->Describe();
}

// ---- looking up

StatusOr<std::shared_ptr<ContainerActor>> Containers::Find(const std::string& id) const {
  std::lock_guard lock(mutex_);
  auto found = actors_.find(id);
  if (found == actors_.end() || !found->second || !found->second->Visible()) {
    return NotFound("No such container: " + id);
  }
  return found->second;
}

std::vector<std::shared_ptr<ContainerActor>> Containers::List() const {
  std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<ContainerActor>> visible;
  for (const auto& [id, actor] : actors_) {
    if (actor && actor->Visible()) visible.push_back(actor);
  }
  return visible;
}

void Containers::Forget(const std::string& id) {
  decltype(finished_) finished;  // destroyed, which joins, when the lock is let go
  std::lock_guard lock(mutex_);
  auto found = actors_.find(id);
  if (found == actors_.end()) return;
  // Not destroyed here: this may be its own thread. Those before it are.
  finished.swap(finished_);
  if (found->second) finished_.push_back(std::move(found->second));
  actors_.erase(found);
  removed_.notify_all();
}

}  // namespace stasis::supervisor
