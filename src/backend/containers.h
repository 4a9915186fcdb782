// What the container routes ask of the engine. `container` is what the client wrote: a full id, a name (with
// or without a leading slash) or an unambiguous prefix of an id; unknown ones are kNotFound "No such
// container: %s". All methods are thread-safe; the ones that wait take a stop_token that is triggered when
// the client leaves.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "backend/container_config.h"
#include "backend/progress.h"
#include "backend/streams.h"
#include "base/json.h"
#include "base/status.h"

namespace stasis::backend {

// Filters as the API has them: name -> values, all names must match, one value of each suffices. The decoder
// accepts
// {"label":["a"]} and the old {"label":{"a":true}}.
using Filters = std::map<std::string, std::vector<std::string>>;
StatusOr<Filters> FiltersFromJson(std::string_view text);

struct CreateRequest {
  std::string name;      // empty: one is made up
  std::string platform;  // "os[/architecture[/variant]]"; empty: whatever the image's is
  ContainerConfig config;
  HostConfig host_config;
  Json networking_config = Json::object();
};

struct CreateResult {
  std::string id;
  std::vector<std::string> warnings;
};

enum class Change { kDone, kAlreadySo };  // 204 or 304

struct StartOptions {
  std::string checkpoint;      // empty: a fresh start
  std::string checkpoint_dir;  // empty: the container's own
  // Told, where a restore has replaced files of the container, the name of the safety checkpoint that keeps
  // them (UndoRestore).
  std::function<void(const std::string& name)> on_files_kept = {};
  OnProgress on_progress = {};  // of a restore
};

struct StopOptions {
  std::string signal;          // empty: the container's
  std::optional<int> timeout;  // seconds; -1: for ever; absent: the container's
};

enum class WaitCondition { kNotRunning, kNextExit, kRemoved };
struct WaitResult {
  int status_code = 0;
  std::string error;
};

struct RemoveOptions {
  bool force = false;
  bool volumes = false;
};

struct ListOptions {
  bool all = false;
  int limit = 0;  // 0: none
  bool size = false;
  Filters filters;  // id, name, status, label, ancestor, exited, before, since, network, volume
};

struct MountPoint {
  std::string type;
  std::string name;
  std::string source;
  std::string destination;
  std::string mode;
  bool read_write = true;
  std::string propagation;
};

struct ContainerSummary {
  std::string id;
  std::vector<std::string> names;  // "/name"
  std::string image;
  std::string image_id;
  std::string command;
  int64_t created = 0;  // seconds since 1970
  std::string state;    // "running"
  std::string status;   // "Up 3 seconds"
  std::map<std::string, std::string> labels;
  std::string network_mode;
  std::vector<std::string> open_ports;  // "80/tcp": exposed on a network that it is on now
  std::vector<MountPoint> mounts;
  std::optional<int64_t> size_rw;
  std::optional<int64_t> size_root_fs;
};

struct ContainerState {
  std::string status;  // created, running, paused, restarting, removing, exited, dead
  bool running = false;
  bool paused = false;
  bool restarting = false;
  bool oom_killed = false;
  bool dead = false;
  int pid = 0;
  int exit_code = 0;
  std::string error;
  absl::Time started_at = absl::InfinitePast();
  absl::Time finished_at = absl::InfinitePast();
  // An extension of ours: the checkpoint that the last run went on from, its name, or DIRECTORY/NAME of one
  // that is not the container's own. Empty: that run was started from the beginning.
  std::string checkpoint;
};

struct ContainerDetails {
  std::string id;
  absl::Time created;
  std::string path;
  std::vector<std::string> args;
  ContainerState state;
  std::string image_id;
  std::string name;  // "/name"
  int restart_count = 0;
  std::string hostname_path, hosts_path, resolv_conf_path, log_path;
  std::string upper_directory;  // the container's own layer
  std::string merged_directory;
  ContainerConfig config;
  HostConfig host_config;
  std::vector<MountPoint> mounts;
  std::vector<std::string> open_ports;  // as ContainerSummary's
  std::vector<std::string> exec_ids;
  std::string sandbox_key;  // path of the network namespace
  std::optional<int64_t> size_rw;
  std::optional<int64_t> size_root_fs;
};

struct LogOptions {
  bool follow = false;
  bool use_stdout = false;
  bool use_stderr = false;
  bool timestamps = false;
  bool details = false;  // labels and environment that the log's options name, before each line
  absl::Time since = absl::InfinitePast();
  absl::Time until = absl::InfiniteFuture();
  int64_t tail = -1;  // -1: all
};

class ContainerBackend {
 public:
  virtual ~ContainerBackend() = default;

  virtual StatusOr<CreateResult> Create(const CreateRequest& request) = 0;
  virtual StatusOr<Change> Start(const std::string& container, const StartOptions& options,
                                 std::stop_token cancel) = 0;
  virtual StatusOr<Change> Stop(const std::string& container, const StopOptions& options,
                                std::stop_token cancel) = 0;
  virtual Status Kill(const std::string& container, const std::string& signal, std::stop_token cancel) = 0;
  virtual Status Restart(const std::string& container, const StopOptions& options,
                         std::stop_token cancel) = 0;
  virtual Status Pause(const std::string& container) = 0;
  virtual Status Unpause(const std::string& container) = 0;
  // `on_waiting` is called once, when from now on no exit can be missed: the answer's headers go out then.
  virtual StatusOr<WaitResult> Wait(const std::string& container, WaitCondition condition,
                                    const std::function<void()>& on_waiting, std::stop_token cancel) = 0;
  virtual Status Rename(const std::string& container, const std::string& name) = 0;
  virtual Status Remove(const std::string& container, const RemoveOptions& options) = 0;
  virtual StatusOr<std::vector<ContainerSummary>> List(const ListOptions& options) = 0;
  virtual StatusOr<ContainerDetails> Inspect(const std::string& container, bool size) = 0;
  // Called once, before the first byte, when there is a log that can be read: the answer's header goes out
  // then. An error of it ends the call.
  using OnLog = std::function<Status(bool terminal)>;
  // Writes the log to `sink` in Docker's frames, or raw where there is a terminal; with follow until the
  // container has ended, or `cancel`. kUnimplemented: its log driver keeps none.
  virtual Status Logs(const std::string& container, const LogOptions& options, const OnLog& on_log,
                      const ByteSink& sink, std::stop_token cancel) = 0;
  virtual Status Resize(const std::string& container, uint32_t width, uint32_t height) = 0;
  // Docker's 409s: "You cannot attach to a stopped container, start it first", paused likewise. A created one
  // may be attached to.
  virtual StatusOr<std::unique_ptr<AttachSession>> Attach(const std::string& container,
                                                          const AttachOptions& options) = 0;
};

}  // namespace stasis::backend
