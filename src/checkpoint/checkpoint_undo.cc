// How a checkpoint is undone, and what is noted for whoever has to do so when we are gone.
#include <unistd.h>

#include "checkpoint/checkpoint.h"
#include "checkpoint/freeze.h"
#include "linux/files.h"
#include "manifest/checkpoint_directory.h"

namespace stasis::checkpoint {
namespace {

constexpr std::chrono::seconds kGentleEnd{1};     // for CRIU to come to a point where it ends unharmed
constexpr std::chrono::seconds kKill{10};         // for a paused container to be frozen again
constexpr std::chrono::milliseconds kSeize{200};  // for its threads to stop, and go on unnoticed

}  // namespace

Status Checkpoint::Note() {
  protocol::Journal journal;
  journal.thaw = changed_ && !plan_.paused;
  journal.copies = source_ == Source::kTwins;
  journal.limits = limits_;
  STASIS_ASSIGN_OR_RETURN(journal.checkpointer, IdentifyProcess(::getpid()));
  if (staging_) {
    journal.staging = staging_->path();
    journal.staging_inode = staging_->inode();
    journal.published = staging_->published_path();
  }
  if (session_ && !session_->process().Ended()) {
    STASIS_ASSIGN_OR_RETURN(journal.criu, IdentifyProcess(session_->process().pid()));
  }
  return journal_.Write(journal);
}

// On a busy host nearly all of a freeze is waiting for a processor. One that ends, or is paused, waits for
// nothing; its memory is read and hashed in the freeze, which takes long.
void Checkpoint::Hurry() {
  if (!GoesOn()) return;
  hurry_.emplace();
  RaiseToRealTime(session_->process().pid()).IgnoreError();
}

// Thawed, or as frozen as its user had it: CRIU itself thaws the group once it holds every thread.
Status Checkpoint::EndFreeze() {
  Status status = plan_.paused ? cgroup_->Freeze(After(kKill), {}) : cgroup_->Thaw();
  if (!status.ok()) return status;
  hurry_.reset();
  changed_ = false;
  frozen_deadline_ = kNoDeadline;
  return Note();
}

// Gently, where there is time: at a notification CRIU can be told to fail, and then puts every process back
// as it was. A kill in between is survived too, but for moments that are CRIU's own (docs/adr/0002).
void Checkpoint::StopCriu() {
  if (!session_) return;
  Deadline limit = After(kGentleEnd);
  for (;;) {
    if (criu_waits_ && !Answer(false).ok()) break;
    auto event = session_->Next(limit, {});
    if (!event.ok() || event->done) break;
    criu_waits_ = true;
  }
  session_->End(limit);
  session_.reset();
}

Status Checkpoint::Undo(Status why) {
  StopCriu();
  twins_.reset();
  if (changed_ && !plan_.paused) ThawUnnoticed(*cgroup_, After(kSeize)).IgnoreError();
  Status thawed = changed_ ? EndFreeze() : absl::OkStatus();
  hurry_.reset();
  if (!limits_.empty()) thawed.Update(SetLimitsAgain());
  frozen_deadline_ = kNoDeadline;
  staging_.reset();
  writer_.reset();
  store::RemoveEmptyStore(plan_.request.store).IgnoreError();
  phase_ = Phase::kDone;
  // A log is worth reading where CRIU wrote one: the message names it.
  if (!Exists(work_ + "/" + kDumpLogFile)) static_cast<void>(RemoveTree(work_));
  // What could not be undone stays in the journal, for the shim.
  if (thawed.ok()) thawed = journal_.Clear();
  if (thawed.ok()) return why;
  return MakeError(why.code(), Message(why) + "; and then: " + Message(thawed));
}

}  // namespace stasis::checkpoint
