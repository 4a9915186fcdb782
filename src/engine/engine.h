// The engine: what users asked for, what is, and the decisions between. It implements all the interfaces of
// src/backend; their comments are its contract.
//
// One file a topic, all of them members of this class:
//   create.cc    a container comes into being             exits.cc     a run has ended; restart policy, --rm
//   start.cc     run or restore                           follow.cc    the supervisor's events; finding
//   things again stop.cc      stop, kill, restart, pause               exec.cc      further processes
//   remove.cc    and rename                               checkpoint.cc
//   inspect.cc   list, inspect, logs, wait, attach        images.cc    system.cc
//
// Thread-safe. Every call may block on the supervisor or the disk; locks are described in container.h.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "backend/checkpoints.h"
#include "backend/containers.h"
#include "backend/execs.h"
#include "backend/images.h"
#include "backend/system.h"
#include "base/names.h"
#include "base/status.h"
#include "engine/checkpoint_stores.h"
#include "engine/container.h"
#include "engine/container_directories.h"
#include "engine/container_store.h"
#include "engine/container_table.h"
#include "engine/event_bus.h"
#include "engine/exec_table.h"
#include "engine/host.h"
#include "engine/late_records.h"
#include "engine/mount_request.h"
#include "engine/paths.h"
#include "engine/safety_checkpoints.h"
#include "engine/supervisor.h"
#include "engine/task_queue.h"
#include "image/image_store.h"
#include "layer/entry.h"
#include "manifest/manifest.h"
#include "network/network_namespaces.h"

namespace stasis::engine {

struct EngineOptions {
  Paths paths;
  std::string version;
  std::string git_commit;
  std::string build_time;
  std::string runc;  // paths of the programs, for `docker version`
  std::string criu;
  // A damaged database, or list of images, is set aside and made anew from the directories.
  bool recover = false;
};

class Engine final : public backend::ContainerBackend,
                     public backend::ExecBackend,
                     public backend::CheckpointBackend,
                     public backend::ImageBackend,
                     public backend::SystemBackend {
 public:
  // Opens the records and the images below ROOT, making what is missing. Containers that no record names are
  // adopted from their directories. kDataLoss: the database or the list of images is damaged (EngineOptions).
  static StatusOr<std::unique_ptr<Engine>> Open(EngineOptions options,
                                                std::unique_ptr<Supervisor> supervisor);
  // Stops following the supervisor; the containers run on.
  ~Engine() override;

  // Begins to follow the supervisor, and returns once every container's state is known, or the deadline has
  // passed. Then finishes what a crash interrupted, and starts what its restart policy wants started. Once.
  // kCancelled: only following has begun.
  Status Start(Deadline deadline, std::stop_token cancel);

  // ContainerBackend
  StatusOr<backend::CreateResult> Create(const backend::CreateRequest& request) override;
  StatusOr<backend::Change> Start(const std::string& container, const backend::StartOptions& options,
                                  std::stop_token cancel) override;
  StatusOr<backend::Change> Stop(const std::string& container, const backend::StopOptions& options,
                                 std::stop_token cancel) override;
  Status Kill(const std::string& container, const std::string& signal, std::stop_token cancel) override;
  Status Restart(const std::string& container, const backend::StopOptions& options,
                 std::stop_token cancel) override;
  Status Pause(const std::string& container) override;
  Status Unpause(const std::string& container) override;
  StatusOr<backend::WaitResult> Wait(const std::string& container, backend::WaitCondition condition,
                                     const std::function<void()>& on_waiting,
                                     std::stop_token cancel) override;
  Status Rename(const std::string& container, const std::string& name) override;
  Status Remove(const std::string& container, const backend::RemoveOptions& options) override;
  StatusOr<std::vector<backend::ContainerSummary>> List(const backend::ListOptions& options) override;
  StatusOr<backend::ContainerDetails> Inspect(const std::string& container, bool size) override;
  Status Logs(const std::string& container, const backend::LogOptions& options, const OnLog& on_log,
              const backend::ByteSink& sink, std::stop_token cancel) override;
  Status Resize(const std::string& container, uint32_t width, uint32_t height) override;
  StatusOr<std::unique_ptr<backend::AttachSession>> Attach(const std::string& container,
                                                           const backend::AttachOptions& options) override;

  // ExecBackend
  StatusOr<std::string> CreateExec(const std::string& container, const backend::ExecConfig& config) override;
  Status StartExecDetached(const std::string& exec) override;
  StatusOr<std::unique_ptr<backend::AttachSession>> AttachExec(const std::string& exec,
                                                               backend::ConsoleSize size) override;
  Status ResizeExec(const std::string& exec, uint32_t width, uint32_t height) override;
  StatusOr<backend::ExecDetails> InspectExec(const std::string& exec) override;

  // CheckpointBackend
  StatusOr<backend::CheckpointCreated> CreateCheckpoint(const std::string& container,
                                                        const backend::CheckpointCreate& request,
                                                        std::stop_token cancel) override;
  StatusOr<std::vector<std::string>> ListCheckpoints(const std::string& container,
                                                     const std::string& directory) override;
  Status DeleteCheckpoint(const std::string& container, const std::string& name,
                          const std::string& directory) override;
  StatusOr<backend::CheckpointVerification> VerifyCheckpoints(const std::string& directory,
                                                              const backend::OnProgress& on_progress,
                                                              std::stop_token cancel) override;
  StatusOr<uint64_t> PruneCheckpoints(const std::string& directory, const backend::OnProgress& on_progress,
                                      std::stop_token cancel) override;
  StatusOr<std::vector<backend::CheckpointUsage>> MeasureCheckpoints(const std::string& directory,
                                                                     const backend::OnProgress& on_progress,
                                                                     std::stop_token cancel) override;
  StatusOr<std::vector<backend::CheckpointSummary>> ListAllCheckpoints(const std::string& directory) override;
  StatusOr<backend::UndoneRestore> UndoRestore(const std::string& container, const std::string& name,
                                               std::stop_token cancel) override;
  Status ExportCheckpoint(const std::string& container, const std::string& name, const std::string& directory,
                          const backend::ByteSink& sink, std::stop_token cancel) override;
  StatusOr<std::string> ImportCheckpoint(const backend::ByteSource& body,
                                         const backend::CheckpointImport& request,
                                         std::stop_token cancel) override;
  StatusOr<Json> InspectCheckpoint(const std::string& container, const std::string& name,
                                   const std::string& directory) override;
  StatusOr<std::vector<backend::FileChange>> DiffCheckpoint(const std::string& container,
                                                            const backend::CheckpointDiff& request,
                                                            std::stop_token cancel) override;
  Status InspectProcesses(const std::string& container, const std::string& name,
                          const backend::ProcessInspection& request, const OnProcess& on_process,
                          std::stop_token cancel) override;

  // ImageBackend
  Status LoadImages(const backend::ByteSource& body, const OnMessage& on_message,
                    std::stop_token cancel) override;
  StatusOr<std::string> ImportImage(const backend::ByteSource& body, const backend::ImageImport& request,
                                    std::stop_token cancel) override;
  StatusOr<std::vector<backend::ImageSummary>> ListImages(bool all, const backend::Filters& filters) override;
  StatusOr<backend::ImageDetails> InspectImage(const std::string& image) override;
  StatusOr<backend::ImageRemoval> RemoveImage(const std::string& image, bool force) override;
  Status TagImage(const std::string& image, const std::string& reference) override;

  // SystemBackend
  backend::VersionInfo Version() override;
  StatusOr<backend::SystemInfo> Info() override;
  Status Events(const backend::EventQuery& query,
                const std::function<Status(const backend::EventMessage&)>& on_event,
                std::stop_token cancel) override;

 private:
  using ContainerRef = std::shared_ptr<Container>;
  using Mutation = std::function<Status(ContainerRecord&)>;
  using Attributes = std::map<std::string, std::string>;

  Engine(EngineOptions options, std::unique_ptr<Supervisor> supervisor, std::unique_ptr<ContainerStore> store,
         ContainerDirectories directories, std::unique_ptr<image::ImageStore> images,
         network::NetworkNamespaces networks, Host host, std::vector<backend::EventMessage> past);

  // ---- load.cc ----
  Status LoadContainers();
  // Of a container that the database does not know, or knows by `name` and a record that cannot be read.
  Status AdoptContainer(const ContainerId& id, const std::string& name);
  Status ShowContainer(ContainerRecord record);

  // ---- changes.cc ----
  // A decision: changes a record, writes it with the event of that decision, then shows both. Where it cannot
  // be written nothing is changed. `action` empty: no event.
  Status Change(Container& container, const Mutation& change, const std::string& action = "",
                const Attributes& attributes = {});
  // What has happened, or what ends or thaws a container: shown whether it can be written or not, and written
  // later where the disk is full. Fails only where `change` does.
  Status RecordFact(Container& container, const Mutation& change, const std::string& action = "",
                    const Attributes& attributes = {}, std::optional<absl::Time> supervisor_seen = {});
  // An event without a change of any record.
  void Emit(backend::EventMessage event);
  // Of a container whose directory is marked as removed.
  void RecordRemoval(const ContainerId& id, const backend::EventMessage& event);
  // `why`: the first failure, for the log.
  void WriteLateSoon(const Status& why);
  void WriteLate();
  // Writes record.json where `after` needs it. The database has it already, so a failure is only logged: the
  // next start of the engine writes it.
  void SaveForAdoption(const ContainerRecord& before, const ContainerRecord& after);
  static backend::EventMessage ContainerEvent(const ContainerRecord& record, std::string action,
                                              const Attributes& attributes);
  static backend::EventMessage KillEvent(const ContainerRecord& record, int signal);

  // ---- create.cc ----
  StatusOr<ContainerRecord> PlanContainer(const backend::CreateRequest& request, const image::Image& image,
                                          const std::string& name, std::vector<std::string>* warnings) const;
  MountRules RulesOfMounts() const;
  StatusOr<std::string> ReserveAName(const std::string& wanted, const ContainerId& id);

  // ---- start.cc ----
  struct RestorePoint {
    std::string name;
    std::string directory;
    bool paused = false;
    std::optional<Manifest> files = {};  // to be put back
  };
  // Runs or restores it; the turn is held. On failure everything is as before, and the record says why.
  Status Launch(Container& container, const backend::StartOptions& options, std::stop_token cancel);
  StatusOr<std::optional<RestorePoint>> FindRestorePoint(const ContainerRecord& record,
                                                         const backend::StartOptions& options);
  Status Boot(Container& container, const ContainerRecord& record, const std::optional<RestorePoint>& restore,
              const backend::OnProgress& on_progress, std::stop_token cancel);
  StatusOr<types::CreateContainerRequest> PlanRun(const ContainerRecord& record,
                                                  const std::optional<RestorePoint>& restore) const;
  struct Network {
    std::string path;                            // of the namespace; empty: the host's
    std::optional<ContainerRecord> joined = {};  // whose it is, where not its own
  };
  StatusOr<Network> PrepareNetwork(const ContainerRecord& record, bool restore);
  Status TakeNames(Container& container, const ContainerRecord& other);
  Status RecordRunning(Container& container, const std::optional<RestorePoint>& restore);
  // DIRECTORY/NAME, of the container's own only NAME.
  std::string ShownCheckpoint(const ContainerId& id, const std::string& path) const;
  void RecordFailedStart(Container& container, const Status& why);
  // What a run needs and nothing else does: the network namespace, and, some time later unless it is started
  // again, the root's mount. The turn is held, nothing runs.
  void ReleaseRunResources(const ContainerRef& container);

  // ---- stop.cc ----
  Status StopAndWait(Container& container, const backend::StopOptions& options, std::stop_token cancel);
  Status WaitForExit(Container& container, uint64_t exits_before, Deadline deadline, std::stop_token cancel);
  Status KillAndWait(Container& container);
  Status MarkStoppedByUser(Container& container);
  Status KillRunning(const ContainerRef& container, int signal, const std::stop_token& cancel);
  // `ends`: the signal ends it. Waits for the end after SIGKILL. kNotFound:
  // it has ended, and that is not recorded yet.
  Status SignalInit(Container& container, int signal, bool ends);
  // Where it waits for its restart policy that is called off, as by its user's stop, and true is returned.
  StatusOr<bool> CallOffRestart(const ContainerRef& container, const std::string& event,
                                std::stop_token cancel);

  // ---- exits.cc ----
  void HandleExit(const ContainerRef& container, const Exit& exit, std::optional<absl::Time> seen);
  // After an exit, in a task: frees what the run held, then --rm, or the restart policy.
  void Settle(const ContainerRef& container, uint64_t exits);
  void SettleWithTurn(const ContainerRef& container, uint64_t exits);
  void LaunchByPolicy(const ContainerRef& container, uint64_t exits, const std::stop_token& cancel);
  void RestartLater(const ContainerRef& container, uint64_t exits, absl::Duration delay);
  void ScheduleRestart(const ContainerRef& container, uint64_t exits, absl::Duration delay);
  // A line in the log where the run that ended had gone on from a checkpoint: a policy's does not.
  static void TellOfRestart(const ContainerRecord& record);
  void RestartByPolicy(const ContainerRef& container, uint64_t exits, const std::stop_token& cancel);
  // Does `work` in a task, with the turn of the container and while no checkpoint of it is under way. As long
  // as it cannot have both it is put off: no thread of the queue waits for a container.
  using TurnWork = std::function<void(const std::stop_token& cancel)>;
  void PostWithTurn(const ContainerRef& container, std::chrono::milliseconds delay, TurnWork work,
                    std::chrono::milliseconds poll = std::chrono::milliseconds(5));
  static std::optional<absl::Duration> NextRestart(const Container& container, const ContainerRecord& record,
                                                   int exit_code, absl::Time at);
  // Decides whether an exit was that of a checkpoint with exit whose answer never came.
  void ResolveExitingCheckpoint(ContainerRecord& record) const;

  // ---- follow.cc ----
  void FollowSupervisor(std::stop_token stop);
  void HandleEvent(const types::Event& event);
  Status Reconcile();
  void Adopt(Container& container, const types::Container& running);
  void RecoverLost(const ContainerRef& container);
  // Ends what is left in the cgroup of a container that the supervisor does not have.
  Status EndLeftovers(const ContainerId& id);
  void FinishInterrupted();

  // ---- remove.cc ----
  Status RemoveWithTurn(const ContainerRef& container);

  // ---- exec.cc ----
  class ExecSession;
  StatusOr<UniqueFd> StartAttached(const std::shared_ptr<Exec>& exec, backend::ConsoleSize size,
                                   std::stop_token cancel);
  Status RunExec(const std::shared_ptr<Exec>& exec, bool attached, std::stop_token cancel);
  void HandleExecExit(const std::string& exec, int code);

  // ---- restore_files.cc ----
  // Whether the container's files belong to its checkpoints: by a label they do not.
  static bool KeepsFiles(const ContainerRecord& record);
  // The container's own layer as it was at the checkpoint; what is there already stays.
  // Whether a restore was the container's last start decides which files it has, whatever died in between.
  // What a restore replaced becomes a safety checkpoint: its name, or nothing where none was replaced.
  std::optional<std::string> KeepRestoredFiles(const ContainerRecord& record);
  void RevertFiles(const ContainerId& id);
  Status RevertFilesOfDeadStart(const ContainerId& id);
  // Returns a descriptor for SyncFiles, opened before anything was written; none where nothing was replaced.
  StatusOr<UniqueFd> PutFilesBack(const ContainerRecord& record, const RestorePoint& restore,
                                  const std::stop_token& cancel);
  static Status SyncFiles(const UniqueFd& put_back);

  // ---- checkpoint_diff.cc ----
  // The directories of the image of a container, or, where none is named, of the image of this id.
  StatusOr<std::vector<std::string>> ImageFiles(const std::string& container,
                                                const std::string& image_id) const;
  // The container's own layer as it is now, for a comparison with `captured`.
  StatusOr<std::vector<layer::Entry>> LayerNow(const ContainerId& container,
                                               const std::vector<layer::Entry>& captured,
                                               const std::stop_token& cancel) const;

  // ---- checkpoint.cc ----
  // Where a request finds a checkpoint.
  struct CheckpointPlace {
    std::string directory;
    std::string store;
    std::string owner;  // for messages: "for container web"
  };
  // Without a container the directory must be given. Among a container's own are its safety checkpoints.
  StatusOr<CheckpointPlace> FindPlace(const std::string& container, const CheckpointName& name,
                                      const std::string& directory) const;
  // kNotFound: the message names both.
  StatusOr<Manifest> FindCheckpoint(const CheckpointPlace& place, const CheckpointName& name) const;
  StatusOr<std::string> CheckpointDirectory(const ContainerRecord& record,
                                            const std::string& directory) const;
  // These tell by events how far work has come: on a store, and on a checkpoint of a container or a restore
  // from it. They are not recorded.
  backend::OnProgress StoreEvents(const std::string& store, const std::string& action);
  backend::OnProgress WorkEvents(const ContainerRecord& record, const std::string& action,
                                 const std::string& checkpoint);
  // A directory that a user named, made canonical.
  StatusOr<std::string> ForeignDirectory(const std::string& directory) const;
  // Of a directory that a user named; empty: of the containers' own.
  StatusOr<std::string> FindStore(const std::string& directory) const;
  // The store of the checkpoints in `directory`: the containers' own share one.
  std::string StoreOf(const ContainerRecord& record, const std::string& directory) const;
  StatusOr<backend::CheckpointCreated> MakeCheckpoint(Container& container, const CheckpointName& name,
                                                      const std::string& directory,
                                                      const backend::CheckpointCreate& wanted,
                                                      std::stop_token cancel);

  // ---- images.cc ----
  Status CheckImageUnused(const image::Image& image, const std::string& reference, bool force) const;
  // `tag` empty: the event names the image by its id, as Docker does except for new tags.
  void EmitImageEvent(const std::string& action, const image::Image& image, const std::string& tag = "");

  const EngineOptions options_;
  const std::unique_ptr<Supervisor> supervisor_;
  const std::unique_ptr<ContainerStore> store_;
  const ContainerDirectories directories_;
  const std::unique_ptr<image::ImageStore> images_;
  network::NetworkNamespaces networks_;
  const Host host_;
  LateRecords late_;
  EventBus events_;
  ContainerTable containers_;
  ExecTable execs_;

  std::mutex follow_mutex_;
  std::condition_variable_any follow_changed_;
  bool known_ = false;  // guarded by follow_mutex_: the supervisor has said how all containers are

  std::once_flag programs_once_;
  std::string runc_version_;  // set under programs_once_
  std::string criu_version_;
  void ReadProgramVersions();

  CheckpointStores stores_;
  SafetyCheckpoints safety_;
  TaskQueue tasks_;  // these two last: their threads use all of the above
  std::jthread follower_;
};

}  // namespace stasis::engine
