// What the system routes ask of the engine: who it is, and what happens.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>

#include "absl/time/time.h"
#include "backend/containers.h"
#include "base/json.h"
#include "base/status.h"

namespace stasis::backend {

struct Component {
  std::string name;
  std::string version;
  std::map<std::string, std::string> details;
};

struct VersionInfo {
  std::string version;
  std::string git_commit;
  std::string build_time;
  std::string kernel_version;
  std::vector<Component> components;  // runc, criu, the supervisor
};

struct SystemInfo {
  std::string id;
  int64_t containers = 0, running = 0, paused = 0, stopped = 0, images = 0;
  std::string root_directory;
  std::string name;  // host name
  std::string kernel_version;
  std::string operating_system;
  std::string architecture;
  int cpus = 0;
  int64_t memory = 0;
  std::string cgroup_version;  // "1" or "2"
  std::string runc_version;
  std::vector<std::string> warnings;
};

// One event, as /events sends it.
struct EventMessage {
  std::string type;    // "container", "image"
  std::string action;  // "start", "checkpoint", "exec_start: sh"
  std::string actor_id;
  std::map<std::string, std::string> attributes;
  absl::Time at;
};

struct EventQuery {
  std::optional<absl::Time> since;
  std::optional<absl::Time> until;
  Filters filters;  // type, event, container, image, label
};

class SystemBackend {
 public:
  virtual ~SystemBackend() = default;

  virtual VersionInfo Version() = 0;
  virtual StatusOr<SystemInfo> Info() = 0;
  // Sends past events from `since` on, then live ones until `until`, `cancel`, or `on_event` returns an
  // error. With neither since nor until: live ones only.
  virtual Status Events(const EventQuery& query, const std::function<Status(const EventMessage&)>& on_event,
                        std::stop_token cancel) = 0;
};

}  // namespace stasis::backend
