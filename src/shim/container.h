// One container and the verbs on it: what docs/contracts/shim.md promises, behind functions.
//
// The verbs block and may be called on any thread but the loop's; the verb lock says which wait for which.
// What they know of the container lives on the loop's thread (process_table.h, and phase_ here).
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "linux/cgroup.h"
#include "protocol/checkpointer.h"
#include "protocol/shim.h"
#include "runtime/oci_runtime.h"
#include "shim/event_journal.h"
#include "shim/event_loop.h"
#include "shim/json_log.h"
#include "shim/process_table.h"
#include "shim/restored_checkpoint.h"
#include "shim/shim_log.h"
#include "shim/verb_lock.h"

namespace stasis {

class Container {
 public:
  // `loop` and `log` are borrowed. `directory` is the shim's.
  static StatusOr<std::unique_ptr<Container>> Open(protocol::ShimConfig config, std::string directory,
                                                   EventLoop* loop, ShimLog* log);
  ~Container();

  // `progress` gets parameters of notices that say: still at it.
  using OnProgress = std::function<void(const Json& params)>;

  protocol::ShimState State();
  StatusOr<pid_t> Create(std::stop_token cancel);
  StatusOr<pid_t> Start(const OnProgress& progress, std::stop_token cancel);
  Status Kill(const std::string& process, int signal, bool all, std::stop_token cancel);
  StatusOr<pid_t> Exec(const protocol::ExecRequest& request, std::stop_token cancel);
  Status Resize(const std::string& process, uint32_t width, uint32_t height);
  Status CloseStdin(const std::string& process);
  Status Pause(std::stop_token cancel);
  Status Resume(std::stop_token cancel);
  Status Update(const Json& resources, std::stop_token cancel);
  StatusOr<protocol::CheckpointResult> Checkpoint(const protocol::CheckpointRequest& request,
                                                  const OnProgress& progress, std::stop_token cancel);
  // Afterwards nothing of the container is left but the shim's directory.
  Status Delete(bool force, std::stop_token cancel);

  // Takes a client that has sent its request.
  void Attach(UniqueFd socket, const protocol::AttachRequest& request);
  // After Delete: calls `done` once the clients have been sent what waits for them. On the loop's thread.
  void WhenServed(std::function<void()> done) { table_->WhenServed(std::move(done)); }
  // SIGCHLD has come. On the loop's thread.
  void ReapOrphans() { table_->ReapOrphans(); }

  EventJournal& events() { return events_; }

 private:
  enum class Phase { kStarting, kCreated, kRunning, kPaused, kStopped };
  static const char* NameOf(Phase phase);

  Container(protocol::ShimConfig config, std::string directory, EventLoop* loop, ShimLog* log, Cgroup cgroup);

  // What a new process is, and how the runtime is told to make it.
  struct Launch {
    std::string id;
    protocol::Stdio stdio;
    JsonLog* log = nullptr;
    std::vector<std::string> args;
    std::string started;  // event
    std::function<StatusOr<pid_t>(const OciStreams&)> run;
  };
  StatusOr<pid_t> Run(const Launch& launch);
  StatusOr<std::string> CriuPreload() const;
  // What CRIU reads: the images, and at `restore->criu_environment` where it asks for the rest.
  Status OpenCheckpoint(RestoredCheckpoint* checkpoint, OciRestore* restore, const std::stop_token& cancel);
  StatusOr<pid_t> Restore(const OnProgress& progress);
  StatusOr<pid_t> RunExec(const protocol::ExecRequest& request, std::stop_token cancel);
  Status WaitForAttach(const std::string& process, std::stop_token cancel);
  Status SignalProcess(const std::string& process, int signal);
  Status KillEverything(bool all);
  void CleanUpFailedStart();
  void SetPhase(Phase phase);
  Phase phase();
  void OnInitEnded();
  void OnInitReported(const protocol::ExitRecord& record);

  StatusOr<VerbLock::Hold> Acquire(VerbLock::Kind kind, std::stop_token cancel);
  OciLimits Limits(std::chrono::milliseconds limit);
  StatusOr<protocol::CheckpointPlan> PlanCheckpoint(const protocol::CheckpointRequest& request);
  void NoteIfThawed();
  void SetLimitsLater();
  Status BeginCheckpoint();
  void EndCheckpoint();
  // Asks a checkpoint under way to stop and waits until it has been undone.
  void CancelCheckpoint(bool wait);

  const protocol::ShimConfig config_;
  const std::string directory_;
  EventLoop* const loop_;
  ShimLog* const log_;
  const Cgroup cgroup_;
  OciRuntime runtime_;
  EventJournal events_;
  VerbLock verbs_;
  std::optional<JsonLog> container_log_;  // the loop's
  std::atomic<uint64_t> consoles_ = 0;

  // The loop's thread alone.
  Phase phase_ = Phase::kStarting;
  absl::Time started_at_ = absl::InfinitePast();
  std::optional<protocol::ExitRecord> exit_;
  bool checkpoint_kills_ = false;  // init's next end is the checkpoint's doing

  std::mutex mutex_;  // guards what follows
  std::condition_variable_any changed_;
  bool checkpointing_ = false;
  bool reported_ = false;  // init's exit
  std::stop_source checkpoint_stop_;
  std::stop_source operation_stop_;  // of what runs the runtime

  std::unique_ptr<ProcessTable> table_;
  std::jthread sweeper_;  // kills what outlives init
  std::jthread limits_;   // of the checkpoint verb: sets again what a checkpoint had to leave raised
};

}  // namespace stasis
