// The execs of all containers. They live in memory only: what an engine of before started is not remembered.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "backend/execs.h"
#include "base/status.h"
#include "linux/clock.h"

namespace stasis::engine {

// Thread-safe.
class Exec {
 public:
  Exec(std::string id, std::string container, backend::ExecConfig config)
      : id_(std::move(id)), container_(std::move(container)), config_(std::move(config)) {}

  const std::string& id() const { return id_; }
  const std::string& container() const { return container_; }
  const backend::ExecConfig& config() const { return config_; }

  // kFailedPrecondition when it was started before: an exec runs once.
  Status BeginRunning();
  void SetPid(int pid);
  // The client's end of its streams, so that it can be told whether the process has closed them.
  void WatchStream(UniqueFd duplicate);
  // It has ended, or could not be started.
  void Finish(int code);
  bool started() const;
  bool finished() const;
  bool FinishedBefore(absl::Time time) const;
  // Where its streams have ended but its exit is not known yet, waits for that, for a moment.
  backend::ExecDetails Describe() const;

 private:
  bool StreamEnded() const;

  const std::string id_;
  const std::string container_;
  const backend::ExecConfig config_;
  mutable std::mutex mutex_;
  mutable std::condition_variable finished_;
  // Guarded by mutex_.
  bool started_ = false;
  int pid_ = 0;
  std::optional<int> exit_code_;
  absl::Time finished_at_;
  UniqueFd stream_;
};

// Thread-safe.
class ExecTable {
 public:
  // Forgets those that have ended five minutes ago, as Docker does.
  void Insert(std::shared_ptr<Exec> exec);
  // kNotFound "No such exec instance: %s".
  StatusOr<std::shared_ptr<Exec>> Find(const std::string& id) const;
  std::vector<std::string> IdsOf(const std::string& container) const;
  // The container's run has ended: what ran in it has ended too, and what was prepared and never started is
  // forgotten, as Docker does. Of what ran the exit code can still be asked for.
  void EndAll(const std::string& container);
  void Forget(const std::string& container);

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Exec>> execs_;
};

}  // namespace stasis::engine
