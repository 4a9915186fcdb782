// The processes that a shim is the parent of: the container's init and its execs. Each is watched by its
// pidfd, reaped, and reported once all its output has been handed on; init last of all, and only when its
// exit record is on disk. Other orphans that end up here are reaped too.
//
// Everything here belongs to the loop's thread.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "linux/cgroup.h"
#include "linux/process_handle.h"
#include "protocol/shim.h"
#include "shim/attach_client.h"
#include "shim/event_journal.h"
#include "shim/event_loop.h"
#include "shim/process_streams.h"
#include "shim/shim_log.h"

namespace stasis {

class ProcessTable {
 public:
  // All borrowed. `directory` is the shim's, for exit.json.
  struct Surroundings {
    EventLoop* loop = nullptr;
    EventJournal* events = nullptr;
    ShimLog* log = nullptr;
    const Cgroup* cgroup = nullptr;
    std::string directory;
  };
  struct Process {
    std::string id;
    std::optional<ProcessHandle> handle;
    std::vector<std::string> args;
    std::unique_ptr<ProcessStreams> streams;
    bool held = false;  // not to be reported yet
    bool ended = false;
    bool drained = false;
    protocol::ExitRecord record;
    EventLoop::Timer drain_timer = 0;
  };

  explicit ProcessTable(Surroundings surroundings);
  ~ProcessTable();

  // Called when init has ended, before it is reported, and when it was reported.
  void OnInitEnded(std::function<void()> ended) { init_ended_ = std::move(ended); }
  void OnInitReported(std::function<void(const protocol::ExitRecord&)> reported) {
    init_reported_ = std::move(reported);
  }
  // Why init ended, where it was not its own doing; goes into its exit record.
  void SetInitReason(std::string reason) { init_reason_ = std::move(reason); }

  // The id is taken from now on. kAlreadyExists.
  Status Reserve(const std::string& id);
  // Nothing became of it: who waits to be attached to it is told `error`.
  void Abandon(const std::string& id, const Status& error);
  // `id` was reserved. Its event `started` comes first, when it is not empty.
  Status Add(const std::string& id, pid_t pid, std::vector<std::string> args,
             std::unique_ptr<ProcessStreams> streams, const std::string& started);
  // While held, an exit is not reported, so that no exit comes before its start.
  void SetHeld(const std::string& id, bool held);
  void AddEvent(const std::string& type, const std::string& process);

  Process* Find(const std::string& id);  // null: no such process runs
  const std::map<std::string, Process>& processes() const { return processes_; }

  // Attaches it to a process that is there or is still to come, or refuses it.
  void Attach(const std::string& id, std::unique_ptr<AttachClient> client);
  // `event_fd` becomes readable once somebody waits to be attached to `id`; at once if so.
  void NotifyOfAttach(const std::string& id, int event_fd);
  void ForgetNotify(const std::string& id) { attach_notify_.erase(id); }

  // Calls `done` once no client of an ended process waits for more, perhaps at once.
  void WhenServed(std::function<void()> done);

  // While an operation runs, children unknown here belong to it.
  void BeginOperation() { ++operations_; }
  void EndOperation();
  void ReapOrphans();
  // Kills every child that is not in this table: what a runtime left behind.
  void KillStrangers() const;

 private:
  void Reap(const std::string& id);
  void SetDrained(const std::string& id);
  void NoteOom(Process* process);
  void ReportWhatIsDone();
  void Report(Process process);
  void RemovePending(int fd);
  bool KnownPid(pid_t pid) const;

  const Surroundings around_;
  std::map<std::string, Process> processes_;  // by id; reserved ones have no handle
  std::map<std::string, std::vector<std::unique_ptr<AttachClient>>> pending_;
  std::map<std::string, int> attach_notify_;
  std::deque<std::string> ended_ids_;  // the last ones, so that nobody waits for them
  std::map<uint64_t, std::unique_ptr<ProcessStreams>> lingering_;  // ended, clients still being served
  uint64_t next_lingering_ = 1;
  std::function<void()> init_ended_;
  std::function<void(const protocol::ExitRecord&)> init_reported_;
  std::function<void()> served_;
  std::string init_reason_;
  uint64_t oom_kills_ = 0;
  int operations_ = 0;
};

}  // namespace stasis
