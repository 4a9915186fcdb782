#include "engine/exec_table.h"

#include <sys/socket.h>

namespace stasis::engine {
namespace {

// From the end of an exec's streams to the supervisor's word of its exit.
constexpr std::chrono::seconds kExitDelay{5};
constexpr absl::Duration kKept = absl::Minutes(5);
constexpr int kKilled = 137;

}  // namespace

Status Exec::BeginRunning() {
  const std::lock_guard lock(mutex_);
  if (exit_code_) return FailedPrecondition("Error: Exec command " + id_ + " has already run");
  if (started_) return FailedPrecondition("Error: Exec command " + id_ + " is already running");
  started_ = true;
  return {};
}

void Exec::SetPid(int pid) {
  const std::lock_guard lock(mutex_);
  pid_ = pid;
}

void Exec::WatchStream(UniqueFd duplicate) {
  const std::lock_guard lock(mutex_);
  stream_ = std::move(duplicate);
}

void Exec::Finish(int code) {
  const std::lock_guard lock(mutex_);
  if (exit_code_) return;
  exit_code_ = code;
  finished_at_ = absl::Now();
  stream_.reset();
  finished_.notify_all();
}

bool Exec::started() const {
  const std::lock_guard lock(mutex_);
  return started_;
}

bool Exec::finished() const {
  const std::lock_guard lock(mutex_);
  return exit_code_.has_value();
}

bool Exec::FinishedBefore(absl::Time time) const {
  const std::lock_guard lock(mutex_);
  return exit_code_ && finished_at_ < time;
}

bool Exec::StreamEnded() const {
  char byte = 0;
  return stream_.valid() && ::recv(stream_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

backend::ExecDetails Exec::Describe() const {
  std::unique_lock lock(mutex_);
  if (!exit_code_ && StreamEnded()) {
    finished_.wait_for(lock, kExitDelay, [&] { return exit_code_.has_value(); });
  }
  backend::ExecDetails details;
  details.id = id_;
  details.container_id = container_;
  details.running = started_ && !exit_code_;
  details.exit_code = exit_code_;
  details.pid = pid_;
  details.config = config_;
  return details;
}

void ExecTable::Insert(std::shared_ptr<Exec> exec) {
  const std::lock_guard lock(mutex_);
  const absl::Time old = absl::Now() - kKept;
  std::erase_if(execs_, [&](const auto& entry) { return entry.second->FinishedBefore(old); });
  execs_[exec->id()] = std::move(exec);
}

StatusOr<std::shared_ptr<Exec>> ExecTable::Find(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  const auto found = execs_.find(id);
  if (found == execs_.end()) return NotFound("No such exec instance: " + id);
  return found->second;
}

std::vector<std::string> ExecTable::IdsOf(const std::string& container) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> ids;
  for (const auto& [id, exec] : execs_) {
    if (exec->container() == container && !exec->finished()) ids.push_back(id);
  }
  return ids;
}

void ExecTable::EndAll(const std::string& container) {
  const std::lock_guard lock(mutex_);
  std::erase_if(execs_, [&](const auto& entry) {
    if (entry.second->container() != container) return false;
    if (!entry.second->started()) return true;
    entry.second->Finish(kKilled);
    return false;
  });
}

void ExecTable::Forget(const std::string& container) {
  const std::lock_guard lock(mutex_);
  std::erase_if(execs_, [&](const auto& entry) { return entry.second->container() == container; });
}

}  // namespace stasis::engine
