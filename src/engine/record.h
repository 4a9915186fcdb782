// What the engine knows of one container, as it stands in the database.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "backend/container_config.h"
#include "backend/containers.h"
#include "base/names.h"
#include "base/status.h"

namespace stasis::engine {

enum class Phase { kCreated, kRunning, kPaused, kRestarting, kRemoving, kExited, kDead };

// Docker's word: "created", "running", "paused", ...
std::string_view ToText(Phase phase);
StatusOr<Phase> PhaseFromText(std::string_view text);

// Whether it has processes.
constexpr bool IsAlive(Phase phase) { return phase == Phase::kRunning || phase == Phase::kPaused; }

constexpr bool CanMove(Phase from, Phase to) {
  switch (to) {  // no default: a new phase must be considered here
    case Phase::kCreated:
      return false;
    case Phase::kRunning:
    case Phase::kPaused:
      return from != Phase::kRemoving && from != Phase::kDead;
    case Phase::kRestarting:
      return from == Phase::kExited || from == Phase::kRunning;
    case Phase::kRemoving:
      return !IsAlive(from);
    case Phase::kExited:
      return from != Phase::kRemoving;
    case Phase::kDead:
      return from == Phase::kRemoving;
  }
  return false;
}

// How the last run went.
struct RunState {
  Phase phase = Phase::kCreated;
  int pid = 0;
  int exit_code = 0;
  bool oom_killed = false;
  std::string error;  // why the last start failed, or how it was lost
  absl::Time started_at = absl::InfinitePast();
  absl::Time finished_at = absl::InfinitePast();
  std::string checkpoint = {};  // backend::ContainerState::checkpoint
};

// A mount as it was settled at create time: what the spec gets and inspect shows.
struct ContainerMount {
  std::string type = {};  // "bind" or "tmpfs"
  std::string source = {};
  std::string destination = {};
  std::vector<std::string> options = {};  // of the runtime-spec: "rbind", "ro", "rprivate", "size=..."
  std::string mode = {};                  // as the user wrote it: "ro,z"
  bool read_write = true;
  std::string propagation = {};
  bool create_source = false;  // -v makes a directory of a source that is missing; Mounts do not
};

// A checkpoint with exit that was asked for and whose end is not known: whatever ends the container until
// then is taken for that checkpoint when DIRECTORY/NAME is there.
struct ExitingCheckpoint {
  std::string name;
  std::string directory;
};

// Members have initializers so that who makes one names only what it knows.
struct ContainerRecord {
  ContainerId id;
  std::string name = {};  // without a slash
  absl::Time created = {};
  std::string image_id = {};           // "sha256:..."
  std::vector<std::string> argv = {};  // entrypoint and command
  backend::ContainerConfig config = {};
  backend::HostConfig host_config = {};
  std::vector<ContainerMount> mounts = {};
  RunState state = {};
  int restart_count = 0;
  bool stopped_by_user = false;      // no restart policy
  bool ended_by_checkpoint = false;  // --rm keeps it
  std::optional<ExitingCheckpoint> exiting_checkpoint = {};
  // What was written of it cannot be read: only id, name and `state.error` mean anything. It is shown as
  // dead, can be removed, and is never written over what could not be read.
  bool unreadable = false;
};

// The state as the API shows it.
backend::ContainerState ToApi(const RunState& state);

}  // namespace stasis::engine
