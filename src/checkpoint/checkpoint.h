// One checkpoint of one container: prepare, freeze, finish, or cancel (protocol/checkpointer.h). CRIU runs
// through all three as one dump over its RPC; the verbs are the moments at which it waits for us:
//
//   prepare  staging directory, look at the processes, CRIU started and probed up to its `pre-dump`
//   freeze   freezer closed, CRIU writes the images up to its `post-dump`; the container stands still
//   finish   to leave it running: CRIU lets go, thaw, then publish, so that no freeze waits for a disk
//            to exit: publish, and only then CRIU kills the processes
//
// Private memory is hidden from CRIU where that is to be had (docs/adr/0005), and saved by us
// (private_memory.h). To leave it running, the freeze does not wait for memory either: copies of the
// processes (twins.h) are made before the thaw, and their memory is saved after it. To exit, and of a paused
// one, it is read from the processes themselves, which CRIU holds until then.
//
// docs/adr/0002-dump-by-criu-rpc-restore-by-runc.md says why. Any error of a verb undoes all: CRIU ended, the
// container thawed (or frozen again, where its user had paused it), the staging directory removed. Once the
// checkpoint is published nothing is undone any more, and no verb fails. One thread.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/names.h"
#include "base/status.h"
#include "checkpoint/container_files.h"
#include "checkpoint/container_view.h"
#include "checkpoint/private_memory.h"
#include "checkpoint/progress.h"
#include "checkpoint/staging.h"
#include "checkpoint/task_images.h"
#include "checkpoint/twins.h"
#include "criu/file_names.h"
#include "criu/losses.h"
#include "criu/processes.h"
#include "criu/protections.h"
#include "criu/session.h"
#include "linux/cgroup.h"
#include "linux/clock.h"
#include "linux/priority.h"
#include "manifest/manifest.h"
#include "protocol/checkpointer.h"
#include "protocol/journal.h"
#include "store/writer.h"

namespace stasis::checkpoint {

class Checkpoint {
 public:
  // `preload`: the library for CRIU, or empty. `on_progress` is called on the calling thread of a verb.
  Checkpoint(protocol::CheckpointPlan plan, std::string preload, OnProgress on_progress);
  Checkpoint(const Checkpoint&) = delete;
  Checkpoint& operator=(const Checkpoint&) = delete;
  ~Checkpoint();  // cancels what was not finished

  // In this order, each once. Errors: kAlreadyExists (the name), kInvalidArgument (the plan), kCancelled,
  // kInternal (it cannot be saved: the message is a verdict, criu/verdict.h), kResourceExhausted (the disk is
  // full), kDeadlineExceeded (frozen too long, or nothing moves), kAborted (its memory is not to be had by
  // us; plain it may be).
  Status Prepare(std::stop_token cancel);
  Status Freeze(std::stop_token cancel);
  StatusOr<protocol::CheckpointResult> Finish(std::stop_token cancel);

  void Cancel();

  // When the freeze must be over; kNoDeadline while the container runs.
  Deadline FrozenDeadline() const { return frozen_deadline_; }

 private:
  enum class Phase { kNew, kPrepared, kFrozen, kDone };
  // What private memory is read from. kCriu: it is not hidden.
  enum class Source { kCriu, kProcesses, kTwins };

  Status DoPrepare(const std::stop_token& cancel);
  Status DoFreeze(const std::stop_token& cancel);
  Status DoFinish(const std::stop_token& cancel);

  Status MakeDirectories();
  Status JudgeProcesses();
  // What a restore would not bring back, where there will be no twins to be asked; and whether that may be.
  Status JudgeLosses();
  // Chooses the source; notes why not, or what a twin will not have.
  Status ChooseSource();
  // The container's files: most of them while it runs, the rest in the freeze.
  Status ReadFiles(const std::stop_token& cancel);
  Status FinishFiles(const std::stop_token& cancel);
  Status HandOverWatches(const std::stop_token& cancel);
  Status StartCriu(const std::stop_token& cancel);
  Status BeginDump();
  Status SaveSettings();
  // The limits of the cgroup, for as long as the copies need what is the container's.
  Status RaiseLimits();
  Status SetLimitsAgain();
  Status LetGo(const std::stop_token& cancel);
  Status MakeTwins();
  Status BringTaskImages();
  Status JudgeTwins();
  Status SaveHiddenMemory(const std::stop_token& cancel);
  Status SaveImages(const std::stop_token& cancel);
  Status Publish(const std::stop_token& cancel);
  void KillContainer();

  // The next moment at which CRIU waits. An error of CRIU's is the verdict; kDeadlineExceeded, kCancelled.
  Status AwaitNotification(std::string_view name, std::string_view phase, const std::stop_token& cancel);
  Status AwaitEnd(std::string_view phase, const std::stop_token& cancel);
  StatusOr<criu::Event> Await(std::string_view phase, const std::stop_token& cancel);
  Status Answer(bool success);
  Status Failed(std::string_view criu_error) const;
  Status CheckCriuHolds() const;  // the processes, as long as there is a session

  Status Enter(Phase from) const;  // kFailedPrecondition: a verb out of order
  Status Note();                   // writes the journal as things are
  bool GoesOn() const { return !plan_.request.exit && !plan_.paused; }
  void Hurry();
  Status EndFreeze();
  void StopCriu();
  Status Undo(Status why);

  const protocol::CheckpointPlan plan_;
  const std::string preload_;
  const std::string work_;  // CRIU's work directory: log, statistics, irmap cache
  const OnProgress on_progress_;
  protocol::JournalFile journal_;

  std::optional<Cgroup> cgroup_;
  std::optional<Staging> staging_;
  // What it has written stays out of the collector's reach until the manifest names it.
  std::unique_ptr<store::Writer> writer_;
  std::optional<ContainerFiles> files_;
  UniqueFd work_fd_;
  std::optional<ProgressWatch> progress_;
  std::optional<TaskImages> task_images_;  // until they are among the others
  std::optional<criu::Session> session_;
  ContainerView view_;
  std::vector<criu::OutsidePeer> outside_peers_;
  std::vector<criu::Process> processes_;
  criu::Losses losses_;
  criu::Protections protections_;
  std::set<std::string> unread_;  // UDP sockets, as they were in the freeze
  std::vector<pid_t> members_;    // of the cgroup, just before `processes_` were read for the freeze
  bool stopped_ = false;          // by SIGSTOP, one of them
  Source source_ = Source::kCriu;
  ShownMemory shown_;
  std::optional<Twins> twins_;
  std::vector<CgroupLimit> limits_;  // as they were before they were raised
  bool has_watches_ = false;
  bool criu_waits_ = false;  // for our answer to a notification
  bool changed_ = false;     // the freezer, perhaps, by us or by CRIU on our behalf
  // From the freeze to the thaw of a container that is to go on.
  std::optional<RealTimeScope> hurry_;
  Phase phase_ = Phase::kNew;

  Manifest manifest_;
  std::chrono::steady_clock::time_point began_;
  std::chrono::steady_clock::time_point frozen_since_;
  Deadline frozen_deadline_ = kNoDeadline;
};

}  // namespace stasis::checkpoint
