// One container as the supervisor sees it: its shim, what was last heard of it, and a thread of its own that
// follows the shim's events into the event log, and that clears up when the container or its shim has ended.
//
// The shim decides; the actor relays. Calls run on their callers' threads, each over its own connection to
// the shim, so a long one delays no other, neither of this container nor of another.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "base/status.h"
#include "protocol/shim.h"
#include "supervisor/event_log.h"
#include "supervisor/shim_client.h"
#include "supervisor/shim_process.h"
#include "types/api.pb.h"

namespace stasis::supervisor {

// What the supervisor itself keeps about a container, beside the shim's own config.json.
struct ContainerRecord {
  std::string directory;  // RUN/shims/ID
  protocol::ShimConfig config;
  types::Process init;       // from the bundle
  std::string runtime_name;  // as the client gave it
  bool create_only = false;  // it waits for UpdateContainer{running}; else the creating call starts it
};

// Thread-safe, except where noted.
class ContainerActor {
 public:
  // Called by the actor's own thread, or by Discard, when nothing of the container is left. Must not destroy
  // the actor.
  using OnGone = std::function<void(const std::string& id)>;

  // A container whose creation is under way: not shown before Follow and Start, or MarkCreated.
  ContainerActor(ContainerRecord record, ShimProcess process, EventLog& events, OnGone on_gone);
  // One found after a restart. Without a process its shim is dead. Follow it at once.
  ContainerActor(ContainerRecord record, std::optional<ShimProcess> process, EventLog& events, OnGone on_gone,
                 std::string shim_name);
  // Stops following. The container and its shim run on.
  ~ContainerActor();

  // Begins to follow the shim's events. Once.
  void Follow();
  // After a restart: waits until the shim has said how the container is. False at the deadline.
  bool WaitKnown(Deadline deadline) const;

  const std::string& id() const { return record_.config.id; }
  const std::string& bundle() const { return record_.config.bundle; }
  // Whether clients see it: its creation has come to an end, and so has not its life.
  bool Visible() const;
  bool Creating() const;
  types::Container Describe() const;
  protocol::ShimState state() const;
  const protocol::ShimConfig& config() const { return record_.config; }

  // runc create. The first call of a new container.
  Status Create(std::stop_token cancel);
  // A new container that is not to be started yet is shown from now on.
  void MarkCreated();
  // Runs or restores it. When that fails the container is discarded.
  Status Start(std::stop_token cancel);
  // Ends the shim and all it holds. For one whose creation failed. Not beside Start.
  void Discard(std::string_view why);

  Status Signal(const std::string& process, int signal, bool all, std::stop_token cancel);
  StatusOr<pid_t> AddProcess(const types::AddProcessRequest& request, std::stop_token cancel);
  Status Resize(const std::string& process, uint32_t width, uint32_t height, std::stop_token cancel);
  Status CloseStdin(const std::string& process, std::stop_token cancel);
  Status Pause(std::stop_token cancel);
  // Resumes a paused one, starts a created one.
  Status Run(std::stop_token cancel);
  Status Update(const Json& resources, std::stop_token cancel);
  // The deadline is on progress alone. Cancelling undoes it.
  StatusOr<protocol::CheckpointResult> Checkpoint(const protocol::CheckpointRequest& request,
                                                  std::stop_token cancel);

 private:
  enum class Phase {
    kCreating,  // not shown; the creating call decides what becomes of it
    kStarting,  // shown; the call that starts it decides
    kLive,
    kGone,  // its end is logged; it is being removed
  };
  static bool Undecided(Phase phase) { return phase == Phase::kCreating || phase == Phase::kStarting; }

  // One method of the shim, then what the shim says of the container now.
  // Takes the decision about a container that waits to be restored, so that there is no process to signal.
  bool ClaimUnstarted();
  bool HasStarted();
  void DiscardAndTell(std::string_view why, const protocol::ExitRecord& exit);
  void NoteProgress(const Json& notice);
  StatusOr<Json> CallShim(std::string_view method, const Json& params, const ShimLimits& limits);
  void Refresh();
  void SetPhase(Phase phase);

  // The thread.
  void FollowUntilGone(std::stop_token stop);
  enum class End { kExited, kCreationInterrupted };
  // Until init has ended and that is logged. An error: the shim can't be followed any more, for now or for
  // good.
  StatusOr<End> FollowShim(std::stop_token stop);
  Status LogEnd(const std::function<Status()>& log);
  Status LogEvent(const protocol::ShimEvent& event);
  // False when the thread is to stop instead.
  bool AwaitDecision(std::stop_token stop);
  bool CreationWasInterrupted() const;
  void BuryShim(std::stop_token stop);
  Status LogDeath(const protocol::ExitRecord& record);
  void Remove(bool force, std::stop_token stop);
  void ClearUntilDone(std::stop_token stop);

  const ContainerRecord record_;
  const bool adopted_;
  const ShimClient shim_;
  const std::string shim_name_;
  EventLog& events_;
  const OnGone on_gone_;
  std::optional<ShimProcess> process_;  // the thread's, after it has ended Discard's

  mutable std::mutex mutex_;
  mutable std::condition_variable_any changed_;
  // Guarded by mutex_.
  Phase phase_;
  bool known_ = false;
  bool start_logged_ = false;
  protocol::ShimState state_;
  int checkpoints_ = 0;  // calls under way
  struct Progress {
    std::string phase;
    uint64_t bytes = 0;
    uint64_t memory = 0;  // to be saved, about; 0: not known
  };
  Progress work_;  // of the last checkpoint, or the restore
  std::map<std::string, types::Process> execs_;

  std::mutex refresh_mutex_;  // one hello at a time, so that an old answer never replaces a newer one
  std::atomic<uint64_t> progress_ = 0;

  std::jthread thread_;  // last: stopped and joined before the rest goes
};

}  // namespace stasis::supervisor
