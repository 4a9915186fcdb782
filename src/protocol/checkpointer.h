// What the shim and the checkpointer say to each other, in frames (frame.h) over a socket pair; the
// checkpointer's end is its descriptor 3. One checkpointer per container at most; it ends when the shim
// closes the socket.
//
// method   params          result             what it does
// prepare  CheckpointPlan  {}                 everything that can be done before the freeze
// freeze   {}              {}                 the container stands still and is dumped
// finish   {}              CheckpointResult   published (made durable, renamed); thawed or, with exit, killed
// cancel   {}              {}                 undone: thawed, what was made aside removed
// open     RestorePlan     {}                 a checkpoint, for a restore: what runc reads of it before it
//                                             starts CRIU is there
// unpack   {}              {}                 the images for CRIU, every page checked
// fill     {}              {}                 CRIU is told that they are there; once it has restored the
//                                             processes, the memory that is not in the images is written
// reap     {"init_pid"}    {}                 what is left of copies that a dead checkpointer made of
// processes
//
// kUnavailable: what stands in its way passes by itself; another attempt may go well.
// kAborted: memory could not be saved by us (CheckpointRequest.freeze); plain, by CRIU, it may be.
//
// The point of no return is the rename that publishes. An error before it leaves nothing behind, and the
// container as it was; what happens after it, a cancellation or the checkpointer's death included, changes
// nothing any more: the checkpoint is there, and with `exit` the container ends. Closing the socket cancels.
// While a verb runs, notices "progress" {"phase":"dump","bytes":N} tell of progress: every 2 s while a dump
// grows, after every 8 MiB that are made durable. The verbs are apart so that one cut over several containers
// can freeze all before it finishes any.
//
// What has to be undone when the checkpointer is gone stands in the journal (journal.h).
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"
#include "protocol/shim.h"

namespace stasis::protocol {

// In CRIU's images: begins the name of what the container sees of a hierarchy of cgroup v1, followed by the
// hierarchy's ("memory"). At the restore the shim names the directory.
inline constexpr char kOwnCgroupMount[] = "own-cgroup-";

// Where CRIU keeps what it has learnt of the kernel, for the dumps and restores of all containers of an
// engine: beside ShimConfig.runtime_root.
std::string KerndatFile(std::string_view runtime_root);

struct CheckpointPlan {
  CheckpointRequest request;
  std::string container_id;
  std::string bundle;
  pid_t init_pid = 0;
  std::string cgroup_path;
  std::string criu;
  std::string shim_directory;  // for the journal and as CRIU's work directory
  bool paused = false;         // the user paused it: it stays frozen afterwards
  std::string failed_log;      // where CRIU's log of one that fails is kept; empty: nowhere
  // "ID (ARGV)" of execs: they run beside init's tree and are left out, but named in the manifest.
  std::vector<std::string> exec_processes;
};
Json ToJson(const CheckpointPlan& plan);
StatusOr<CheckpointPlan> CheckpointPlanFromJson(const Json& json);

struct RestorePlan {
  std::string checkpoint;  // DIRECTORY/NAME
  std::string store;
  std::string images;  // an empty directory
  std::string socket;  // where CRIU asks for the images, and for the memory that is not in them
  // Of the container that is restored. Where it is another than the checkpoint's it gets its own host name,
  // unless that is empty.
  std::string container_id;
  std::string host_name;
};
Json ToJson(const RestorePlan& plan);
StatusOr<RestorePlan> RestorePlanFromJson(const Json& json);

}  // namespace stasis::protocol
