// A supervisor for tests of the engine: containers are entries in a map, and end when the test says so.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <csignal>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "engine/supervisor.h"
#include "engine/supervisor_link.h"

namespace stasis::engine {

// What outlives an engine: its containers and their events. Thread-safe.
class FakeWorld {
 public:
  // Ends a container's init, or an exec.
  void End(const std::string& id, int code, const std::string& process = "init") {
    const std::lock_guard lock(mutex_);
    EndLocked(id, code, process);
  }
  // It is gone and nobody says so.
  void Lose(const std::string& id) {
    const std::lock_guard lock(mutex_);
    containers_.erase(id);
  }
  bool Has(const std::string& id) {
    const std::lock_guard lock(mutex_);
    return containers_.contains(id);
  }
  int runs() {
    const std::lock_guard lock(mutex_);
    return runs_;
  }

  // Set before they are needed.
  Status run_status;          // what Run of a created container answers
  bool ends_at_once = false;  // with code 0, before Run answers
  bool obeys_sigterm = true;
  bool ends_when_killed = true;  // else the test ends it
  std::function<Status(const types::CreateCheckpointRequest&, std::stop_token)> on_checkpoint;
  std::vector<std::string> checkpoint_warnings;  // of those that succeed
  std::function<void(const Supervisor::OnLook&)> on_restore;

 private:
  friend class FakeSupervisor;
  void EndLocked(const std::string& id, int code, const std::string& process) {
    if (process == "init" && containers_.erase(id) == 0) return;
    types::Event event;
    event.set_type("exit");
    event.set_id(id);
    event.set_pid(process);
    event.set_status(static_cast<uint32_t>(code));
    last_ = std::max(absl::Now(), last_ + absl::Nanoseconds(1));
    *event.mutable_timestamp() = ToProto(last_);
    events_.push_back(event);
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::map<std::string, types::Container> containers_;
  std::vector<types::Event> events_;
  absl::Time last_ = absl::UnixEpoch();
  int runs_ = 0;
};

class FakeSupervisor final : public Supervisor {
 public:
  explicit FakeSupervisor(std::shared_ptr<FakeWorld> world) : world_(std::move(world)) {}

  StatusOr<types::Container> Create(const types::CreateContainerRequest& request, std::stop_token) override {
    const std::lock_guard lock(world_->mutex_);
    types::Container container;
    container.set_id(request.id());
    container.set_status("created");
    world_->containers_[request.id()] = container;
    return container;
  }
  Status Run(const std::string& id, const OnLook& on_look, std::stop_token) override {
    if (on_look && world_->on_restore) world_->on_restore(on_look);
    const std::lock_guard lock(world_->mutex_);
    STASIS_RETURN_IF_ERROR(world_->run_status);
    const auto found = world_->containers_.find(id);
    if (found == world_->containers_.end()) return NotFound("No such container: " + id);
    if (found->second.status() == "created") {
      ++world_->runs_;
      *found->second.mutable_started_at() = ToProto(absl::Now());
    }
    found->second.set_status("running");
    if (world_->ends_at_once) world_->EndLocked(id, 0, "init");
    return {};
  }
  Status Pause(const std::string& id, std::stop_token) override {
    const std::lock_guard lock(world_->mutex_);
    world_->containers_[id].set_status("paused");
    return {};
  }
  Status Signal(const std::string& id, const std::string&, int signal, bool) override {
    const std::lock_guard lock(world_->mutex_);
    if (!world_->containers_.contains(id)) return NotFound("No such container: " + id);
    if ((signal == SIGKILL && world_->ends_when_killed) || (signal == SIGTERM && world_->obeys_sigterm)) {
      world_->EndLocked(id, 128 + signal, "init");
    }
    return {};
  }
  StatusOr<int> AddProcess(const types::AddProcessRequest&, std::stop_token) override { return 4711; }
  Status Resize(const std::string&, const std::string&, uint32_t, uint32_t) override { return {}; }
  StatusOr<types::CreateCheckpointResponse> Checkpoint(const types::CreateCheckpointRequest& request,
                                                       const OnLook&, std::stop_token cancel) override {
    STASIS_RETURN_IF_ERROR(world_->on_checkpoint(request, std::move(cancel)));
    types::CreateCheckpointResponse response;
    for (const std::string& warning : world_->checkpoint_warnings) response.add_warnings(warning);
    return response;
  }
  StatusOr<std::vector<types::Container>> State(const std::string& id) override {
    const std::lock_guard lock(world_->mutex_);
    std::vector<types::Container> found;
    for (const auto& [one, container] : world_->containers_) {
      if (id.empty() || id == one) found.push_back(container);
    }
    return found;
  }
  Status FollowEvents(absl::Time since, const OnEvent& on_event, std::stop_token cancel) override {
    size_t position = 0;
    bool live = false;
    while (!cancel.stop_requested()) {
      types::Event event;
      {
        std::unique_lock lock(world_->mutex_);
        if (position == world_->events_.size() && !live) {
          live = true;
          event.set_type("live");
        } else if (!world_->changed_.wait(lock, cancel, [&] { return position < world_->events_.size(); })) {
          break;
        } else {
          event = world_->events_[position++];
          if (FromProto(event.timestamp()) <= since) continue;
        }
      }
      on_event(event);
    }
    return Cancelled("asked to");
  }
  StatusOr<std::vector<types::Event>> PastEvents(absl::Time since, const std::string& id) override {
    const std::lock_guard lock(world_->mutex_);
    std::vector<types::Event> events;
    for (const types::Event& event : world_->events_) {
      if (event.id() == id && FromProto(event.timestamp()) > since) events.push_back(event);
    }
    return events;
  }
  StatusOr<std::string> Version() override { return std::string("0.0.1"); }

 private:
  const std::shared_ptr<FakeWorld> world_;
};

}  // namespace stasis::engine
