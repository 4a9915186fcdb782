// What the engine asks of the supervisor, in the engine's words. supervisor_link.h is the real one, over
// types.API; tests have one of their own.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"
#include "types/api.pb.h"

namespace stasis::engine {

// Thread-safe. kUnavailable: the supervisor is not there; it may be soon again.
class Supervisor {
 public:
  virtual ~Supervisor() = default;

  // As `create_only` asks: made but not run. Returns it with its attach socket.
  virtual StatusOr<types::Container> Create(const types::CreateContainerRequest& request,
                                            std::stop_token cancel) = 0;
  // Called about once a second with what State says of the container.
  using OnLook = std::function<void(const types::Container&)>;
  // Runs (or restores) what Create made; resumes what is paused. `on_look`: of a restore; else empty.
  virtual Status Run(const std::string& id, const OnLook& on_look, std::stop_token cancel) = 0;
  virtual Status Pause(const std::string& id, std::stop_token cancel) = 0;
  // `process`: "init" or an exec's id. `all`: SIGKILL to all it holds.
  virtual Status Signal(const std::string& id, const std::string& process, int signal, bool all) = 0;
  // Returns the pid.
  virtual StatusOr<int> AddProcess(const types::AddProcessRequest& request, std::stop_token cancel) = 0;
  virtual Status Resize(const std::string& id, const std::string& process, uint32_t width,
                        uint32_t height) = 0;
  virtual StatusOr<types::CreateCheckpointResponse> Checkpoint(const types::CreateCheckpointRequest& request,
                                                               const OnLook& on_look,
                                                               std::stop_token cancel) = 0;
  // All containers, or the one of this id (none: it is gone).
  virtual StatusOr<std::vector<types::Container>> State(const std::string& id) = 0;

  using OnEvent = std::function<void(const types::Event& event)>;
  // Those later than `since`, then live ones, until the connection breaks or `cancel`. Between the two comes
  // one of type "live".
  virtual Status FollowEvents(absl::Time since, const OnEvent& on_event, std::stop_token cancel) = 0;
  // Those of one container later than `since`.
  virtual StatusOr<std::vector<types::Event>> PastEvents(absl::Time since, const std::string& id) = 0;
  // "0.1.0 (REVISION)"
  virtual StatusOr<std::string> Version() = 0;
};

}  // namespace stasis::engine
