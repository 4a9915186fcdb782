#include "shim/process_table.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/time/clock.h"
#include "linux/files.h"
#include "linux/proc.h"

namespace stasis {
namespace {

constexpr std::chrono::seconds kDrainLimit{10};  // a stranger may hold the other end of a pipe
constexpr size_t kMaxPending = 64;
constexpr size_t kEndedIdsKept = 256;

}  // namespace

ProcessTable::ProcessTable(Surroundings surroundings) : around_(std::move(surroundings)) {}

ProcessTable::~ProcessTable() {
  for (auto& [id, clients] : pending_) {
    for (const auto& client : clients) around_.loop->Unwatch(client->fd());
  }
  for (auto& [id, process] : processes_) {
    if (process.handle) around_.loop->Unwatch(process.handle->fd());
  }
}

Status ProcessTable::Reserve(const std::string& id) {
  if (processes_.contains(id)) return AlreadyExists("process " + id + " exists already");
  processes_[id].id = id;
  return {};
}

void ProcessTable::Abandon(const std::string& id, const Status& error) {
  processes_.erase(id);
  if (auto waiting = pending_.extract(id); !waiting.empty()) {
    for (const auto& client : waiting.mapped()) {
      around_.loop->Unwatch(client->fd());
      client->Refuse(error);
    }
  }
  ReportWhatIsDone();
}

Status ProcessTable::Add(const std::string& id, pid_t pid, std::vector<std::string> args,
                         std::unique_ptr<ProcessStreams> streams, const std::string& started) {
  // It is our child and not reaped: the number cannot be another's.
  STASIS_ASSIGN_OR_RETURN(ProcessHandle handle, ProcessHandle::Open(pid));
  Process& process = processes_[id];
  process.id = id;
  process.args = std::move(args);
  process.streams = std::move(streams);
  process.record.process = id;
  process.handle.emplace(std::move(handle));
  around_.loop->Watch(process.handle->fd(), POLLIN, [this, id](short) { Reap(id); });
  if (!started.empty()) AddEvent(started, id);
  process.streams->Begin([this, id] { SetDrained(id); });
  auto waiting = pending_.extract(id);
  if (waiting.empty()) return {};
  for (auto& client : waiting.mapped()) {
    around_.loop->Unwatch(client->fd());
    process.streams->AddClient(std::move(client));
  }
  return {};
}

void ProcessTable::SetHeld(const std::string& id, bool held) {
  if (Process* process = Find(id)) process->held = held;
  ReportWhatIsDone();
}

void ProcessTable::AddEvent(const std::string& type, const std::string& process) {
  protocol::ShimEvent event;
  event.type = type;
  event.process = process;
  event.at = absl::Now();
  around_.events->Add(std::move(event));
}

ProcessTable::Process* ProcessTable::Find(const std::string& id) {
  auto found = processes_.find(id);
  return found == processes_.end() || !found->second.handle ? nullptr : &found->second;
}

void ProcessTable::Reap(const std::string& id) {
  Process* process = Find(id);
  if (!process || process->ended) return;
  siginfo_t info = {};
  if (::waitid(P_PIDFD, static_cast<id_t>(process->handle->fd()), &info, WEXITED | WNOHANG) != 0) {
    around_.log->Line("waitid " + id + ": " + Message(ErrnoError(errno, "process")));
  } else if (info.si_pid == 0) {
    return;  // stopped or traced, not ended
  }
  around_.loop->Unwatch(process->handle->fd());
  process->ended = true;
  process->record.at = absl::Now();
  process->record.status = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
  NoteOom(process);
  if (id == protocol::kInit && init_ended_) init_ended_();
  if (!process->drained) {
    // A slow client is served after the exit, too: it must not delay it.
    const auto limit = process->streams->HeldUpByClient() ? std::chrono::seconds(0) : kDrainLimit;
    process->drain_timer = around_.loop->RunAfter(limit, [this, id] {
      around_.log->Line("process " + id + " ended, but its output stays open: not waiting any longer");
      SetDrained(id);
    });
  }
  ReportWhatIsDone();
  ReapOrphans();
}

void ProcessTable::SetDrained(const std::string& id) {
  if (Process* process = Find(id)) process->drained = true;
  ReportWhatIsDone();
}

void ProcessTable::NoteOom(Process* process) {
  uint64_t kills = around_.cgroup->OomKills();
  bool init = process->id == protocol::kInit;
  // An exec's own death by the killer shows as SIGKILL; init's container counts whatever process it hit.
  process->record.oom_killed = kills > 0 && (init || (kills > oom_kills_ && process->record.status == 137));
  if (kills > oom_kills_) AddEvent("oom", process->id);
  oom_kills_ = std::max(oom_kills_, kills);
}

void ProcessTable::ReportWhatIsDone() {
  auto done = [](const Process& process) { return process.ended && process.drained && !process.held; };
  for (auto it = processes_.begin(); it != processes_.end();) {
    if (it->first == protocol::kInit || !done(it->second)) {
      ++it;
      continue;
    }
    auto node = processes_.extract(it++);
    Report(std::move(node.mapped()));
  }
  // The exits of execs come before init's.
  if (processes_.size() != 1 || processes_.begin()->first != protocol::kInit) return;
  if (!done(processes_.begin()->second)) return;
  auto node = processes_.extract(processes_.begin());
  Report(std::move(node.mapped()));
}

void ProcessTable::Report(Process process) {
  bool init = process.id == protocol::kInit;
  around_.loop->Cancel(process.drain_timer);
  uint64_t number = next_lingering_++;
  ProcessStreams* streams = process.streams.get();
  lingering_[number] = std::move(process.streams);
  // Posted: it must not go while it is the caller.
  streams->Finish([this, number] {
    around_.loop->Post([this, number] {
      lingering_.erase(number);
      if (lingering_.empty() && served_) std::exchange(served_, nullptr)();
    });
  });
  if (init) {
    process.record.reason = init_reason_;
    // Whoever hears of the exit can rely on its record.
    around_.log->IfError("exit.json", WriteFileDurably(around_.directory + "/" + protocol::kExitFile,
                                                       DumpJson(protocol::ToJson(process.record))));
  }
  ended_ids_.push_back(process.id);
  if (ended_ids_.size() > kEndedIdsKept) ended_ids_.pop_front();
  protocol::ShimEvent event;
  event.type = "exit";
  event.process = process.id;
  event.at = process.record.at;
  event.exit = process.record;
  around_.events->Add(std::move(event));
  if (!init) return;
  while (!pending_.empty()) Abandon(pending_.begin()->first, FailedPrecondition("the container has ended"));
  if (init_reported_) init_reported_(process.record);
}

void ProcessTable::WhenServed(std::function<void()> done) {
  if (lingering_.empty()) return done();
  served_ = std::move(done);
}

void ProcessTable::Attach(const std::string& id, std::unique_ptr<AttachClient> client) {
  if (Process* process = Find(id); process && process->streams) {
    return process->streams->AddClient(std::move(client));
  }
  bool over = std::find(ended_ids_.begin(), ended_ids_.end(), id) != ended_ids_.end() ||
              std::find(ended_ids_.begin(), ended_ids_.end(), protocol::kInit) != ended_ids_.end();
  if (over) return client->Refuse(FailedPrecondition("process " + id + " has ended"));
  size_t waiting = 0;
  for (const auto& [other, clients] : pending_) waiting += clients.size();
  if (waiting >= kMaxPending) {
    return client->Refuse(MakeError(StatusCode::kResourceExhausted, "too many clients wait to be attached"));
  }
  int fd = client->fd();
  pending_[id].push_back(std::move(client));
  around_.loop->Watch(fd, 0, [this, fd](short) { RemovePending(fd); });
  if (auto notify = attach_notify_.find(id); notify != attach_notify_.end()) {
    ::eventfd_write(notify->second, 1);
  }
}

void ProcessTable::NotifyOfAttach(const std::string& id, int event_fd) {
  attach_notify_[id] = event_fd;
  if (pending_.contains(id)) ::eventfd_write(event_fd, 1);
}

void ProcessTable::RemovePending(int fd) {
  around_.loop->Unwatch(fd);
  for (auto it = pending_.begin(); it != pending_.end();) {
    std::erase_if(it->second, [&](const auto& client) { return client->fd() == fd; });
    it = it->second.empty() ? pending_.erase(it) : std::next(it);
  }
}

bool ProcessTable::KnownPid(pid_t pid) const {
  return std::any_of(processes_.begin(), processes_.end(), [&](const auto& entry) {
    return entry.second.handle && !entry.second.ended && entry.second.handle->pid() == pid;
  });
}

void ProcessTable::EndOperation() {
  --operations_;
  ReapOrphans();
}

void ProcessTable::ReapOrphans() {
  if (operations_ > 0) return;  // an unknown child may be one that somebody waits for
  for (;;) {
    siginfo_t info = {};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return;
    if (KnownPid(info.si_pid)) return;  // reaped by its pidfd, which calls here again
    if (::waitid(P_PID, static_cast<id_t>(info.si_pid), &info, WEXITED | WNOHANG) != 0) return;
  }
}

void ProcessTable::KillStrangers() const {
  for (pid_t pid : ListChildren(::getpid())) {
    if (!KnownPid(pid)) ::kill(pid, SIGKILL);  // our own child: the number is its own until we reap it
  }
}

}  // namespace stasis
