// What the shim and the checkpointer say to each other, in frames (frame.h) over a socket pair; the
// checkpointer's end is its descriptor 3. One checkpointer per container at most; it ends when the shim
// closes the socket.
//
// method   params          result             what it does
// prepare  CheckpointPlan  {}                 everything that can be done before the freeze
// freeze   {}              {}                 the container stands still and is dumped
// finish   {}              CheckpointResult   published (made durable, renamed); thawed or, with exit, killed
// cancel   {}              {}                 undone: thawed, what was made aside removed
//
// An error of any verb leaves nothing behind, and the container as it was. While a verb runs, notices
// "progress" {"phase":"dump","bytes":N} come at least every 5 s as long as there is progress. Closing the
// socket cancels. The verbs are apart so that one cut over several containers can freeze all before it
// finishes any.
//
// Before it changes anything of the container (freezer, limits), and before it starts CRIU, the checkpointer
// writes it into the shim's journal.json; the shim undoes what stands there when the checkpointer is gone.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/json.h"
#include "base/status.h"
#include "protocol/shim.h"

namespace stasis::protocol {

struct CheckpointPlan {
  CheckpointRequest request;
  std::string container_id;
  std::string bundle;
  pid_t init_pid = 0;
  std::string cgroup_path;
  std::string criu;
  std::string shim_directory;  // for the journal and as CRIU's work directory
  bool paused = false;         // the user paused it: it stays frozen afterwards
  // "ID (ARGV)" of execs: they run beside init's tree and are left out, but named in the manifest.
  std::vector<std::string> exec_processes;
};
Json ToJson(const CheckpointPlan& plan);
StatusOr<CheckpointPlan> CheckpointPlanFromJson(const Json& json);

// What must be undone when the checkpointer is gone.
struct Journal {
  bool thaw = false;   // the freezer was closed by us
  pid_t criu_pid = 0;  // with its start time, so that no stranger is killed
  uint64_t criu_start_time = 0;
  std::string staging;  // directory made aside, to be removed
};
Json ToJson(const Journal& journal);
StatusOr<Journal> JournalFromJson(const Json& json);

}  // namespace stasis::protocol
