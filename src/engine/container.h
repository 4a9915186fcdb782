// One container in the engine's memory: its record, who waits for it, and what is under way with it.
//
// Two locks, taken in this order:
//   changing_   held by who changes the record, over the write to the database
//   mutex_      held for moments only; inspect, ps, logs and kill need no other
//
// Beside them there is the turn: start, pause, unpause, rename and removal come one after the other, each for
// as long as it takes. Stop, kill, exec and a checkpoint need no turn, so that none of them waits for a slow
// other one; only a start, which may be a long restore, stop and kill wait for, as Docker's do.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/attach_channel.h"
#include "engine/record.h"
#include "linux/clock.h"

namespace stasis::engine {

// How a run ended, as the supervisor tells it.
struct Exit {
  int code = 0;
  bool oom_killed = false;
  absl::Time at;
  std::string reason;  // empty, or why it was not the program's own end
};

class Container;

// The right to a long change of a container. Gives the turn back at the end of its life.
class Turn {
 public:
  Turn(Turn&& other) noexcept = default;
  Turn& operator=(Turn&&) = delete;
  ~Turn();
  // Asked to stop when somebody wants the container away by force.
  std::stop_token cancel() const { return cancel_; }

 private:
  friend class Container;
  Turn(std::shared_ptr<Container> container, std::stop_token cancel)
      : container_(std::move(container)), cancel_(std::move(cancel)) {}
  std::shared_ptr<Container> container_;
  std::stop_token cancel_;
};

// Thread-safe.
class Container : public std::enable_shared_from_this<Container> {
 public:
  explicit Container(ContainerRecord record) : id_(record.id), record_(std::move(record)) {}

  const ContainerId& id() const { return id_; }
  ContainerRecord Record() const;
  Phase phase() const;
  std::string name() const;

  // Changes a copy of the record by `change`, hands it to `commit`, and shows it once that has succeeded.
  Status Change(const std::function<Status(ContainerRecord&)>& change,
                const std::function<Status(const ContainerRecord&)>& commit);

  // Waits for the turn. kCancelled. kNotFound "No such container: ID" when it is removed meanwhile.
  StatusOr<Turn> TakeTurn(std::stop_token cancel);
  // The turn if nobody has it; kUnavailable otherwise. kNotFound as TakeTurn.
  StatusOr<Turn> TryTakeTurn();
  // Asks the holder of the turn, and a checkpoint under way, to give up.
  void CancelWork();

  // ---- runs ----
  // A start is under way: an exit that comes from now on belongs to this run, and is kept for EndStarting if
  // it comes before that.
  void BeginStarting();
  // The record says how the start went. Returns the exit that came meanwhile.
  std::optional<Exit> EndStarting();
  // False: it is being started and the exit was kept for that.
  bool MayHandleExit(const Exit& exit);
  bool starting() const;
  // Until no start is under way. kCancelled.
  Status WaitForStart(std::stop_token cancel) const;
  uint64_t starts() const;  // how often BeginStarting was called
  absl::Time starting_since() const;
  // What follows the run's log and streams ends with it.
  void EndRun();
  // The record shows the exit: ends the run, wakes who waits.
  void NoteExit();
  // Counts the ends of runs.
  uint64_t exits() const;
  // Triggered when the current run has ended. Of one that does not run: triggered already.
  std::stop_token run_ended() const;

  std::string attach_socket() const;
  void SetAttachSocket(std::string path);
  // Connected at the next run; at once when it runs.
  void AddAttachment(std::shared_ptr<AttachChannel> channel);
  // Connects what waits, to one that is there (`created`) or one that is about to be restored.
  void ConnectAttachments(bool created);

  // ---- waiting ----
  // Until `condition` of the record and the number of exits holds, or the container is removed.
  // kDeadlineExceeded, kCancelled.
  Status WaitUntil(const std::function<bool(const ContainerRecord& record, uint64_t exits)>& condition,
                   Deadline deadline, std::stop_token cancel) const;
  bool removed() const;
  // Wakes all who wait, for good.
  void MarkRemoved();

  // ---- a checkpoint under way ----
  // kFailedPrecondition when there is one already. The token is the one that CancelCheckpoint triggers.
  StatusOr<std::stop_token> BeginCheckpoint();
  void EndCheckpoint();
  bool checkpointing() const;
  void CancelCheckpoint();
  // Until none is under way.
  Status WaitForCheckpoint(Deadline deadline, std::stop_token cancel) const;

  // While it is restarted by its user its end is not what --rm waits for.
  void HoldRemoval(bool hold);
  bool removal_held() const;
  // Of the restart policy; see RestartDelay.
  absl::Duration restart_delay() const;
  void SetRestartDelay(absl::Duration delay);

 private:
  friend class Turn;
  void GiveTurnBack();

  const ContainerId id_;
  std::mutex changing_;
  mutable std::mutex mutex_;
  mutable std::condition_variable_any changed_;
  // Guarded by mutex_.
  ContainerRecord record_;
  bool busy_ = false;  // somebody has the turn
  std::stop_source turn_cancel_;
  std::optional<std::stop_source> checkpoint_;
  bool starting_ = false;
  uint64_t starts_ = 0;
  absl::Time starting_since_ = absl::InfinitePast();
  std::optional<Exit> early_exit_;
  uint64_t exits_ = 0;
  std::stop_source run_ended_;
  bool removed_ = false;
  bool removal_held_ = false;
  std::string attach_socket_;
  std::vector<std::shared_ptr<AttachChannel>> attachments_;
  absl::Duration restart_delay_ = absl::ZeroDuration();
};

}  // namespace stasis::engine
