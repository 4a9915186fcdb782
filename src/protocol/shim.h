// What the supervisor and the shim say to each other. The contract in words, with the order of events and who
// cleans up after whom, is docs/contracts/shim.md.
//
// Each struct has a ToJson and a FromJson that checks types and refuses unknown versions. The shim's
// directory, RUN/shims/ID, mode 0700:
//
//   config.json    ShimConfig, written by the supervisor before it starts the shim
//   shim.sock      control: frames (frame.h)
//   attach.sock    attach: one AttachRequest frame, an answer frame, then bytes
//   shim.pid       "PID STARTTIME", written by the shim
//   shim.log       what the shim had to say, at most 1 MiB
//   exit.json      ExitRecord of the init, written before anybody is told
//   journal.json   what the checkpointer changed and must be undone (checkpointer.h)
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/json.h"
#include "base/status.h"

namespace stasis::protocol {

inline constexpr char kShimConfigFile[] = "config.json";
inline constexpr char kShimSocket[] = "shim.sock";
inline constexpr char kAttachSocket[] = "attach.sock";
inline constexpr char kShimPidFile[] = "shim.pid";
inline constexpr char kShimLogFile[] = "shim.log";
inline constexpr char kExitFile[] = "exit.json";
inline constexpr char kEndedByCheckpoint[] = "checkpoint";  // a reason: one with `exit` ended it
inline constexpr char kJournalFile[] = "journal.json";
inline constexpr char kInit[] = "init";  // the process id of a container's init

// Where standard streams go. All FIFO paths empty: the shim keeps the log and serves attach.
struct Stdio {
  std::string stdin_fifo;
  std::string stdout_fifo;
  std::string stderr_fifo;
  bool terminal = false;
  bool open_stdin = false;
  bool stdin_once = false;
  uint32_t width = 0;
  uint32_t height = 0;
};

struct RestoreSource {
  std::string directory;                           // of the checkpoint: CHECKPOINT_DIR/NAME
  std::string store;                               // that its content is in
  bool paused = false;                             // come back frozen
  std::vector<std::string> empty_namespaces = {};  // as at the dump: "network"
};

// Everything a shim needs to know at its start.
struct ShimConfig {
  int version = 0;
  std::string id;
  std::string bundle;        // absolute; holds config.json of the runtime-spec
  std::string runtime;       // path of runc
  std::string runtime_root;  // runc --root
  std::vector<std::string> runtime_arguments;
  bool no_pivot = false;
  std::string criu;          // path of CRIU
  std::string checkpointer;  // path of stasis-checkpointer
  std::string cgroup_path;   // linux.cgroupsPath of the spec
  Stdio stdio;
  std::string log_path;  // empty: no log
  uint64_t log_max_size = 0;
  uint32_t log_max_files = 1;
  std::vector<std::string> labels;  // kept for State
  std::optional<RestoreSource> restore;
};
Json ToJson(const ShimConfig& config);
StatusOr<ShimConfig> ShimConfigFromJson(const Json& json);

// How a process of the container ended.
struct ExitRecord {
  std::string process;  // kInit or an exec's id
  int status = 0;       // as a shell says it: 0..255
  bool oom_killed = false;
  absl::Time at;
  std::string reason;  // empty, or why it was not the program's own end
};
Json ToJson(const ExitRecord& record);
StatusOr<ExitRecord> ExitRecordFromJson(const Json& json);

// Control: methods on shim.sock.
//
// method        params                  result            what it does
// hello         {}                      ShimState         first on every connection; also State
// create        {}                      {"pid"}           runc create; of one to be restored: checks, pid 0
// start         {}                      {"pid"}           runc start or restore; event start-container
// kill          {process,signal,all}    {}                one signal; all: SIGKILL to the whole cgroup
// exec          ExecRequest             {"pid"}           runc exec; event start-process
// resize        {process,width,height}  {}
// close_stdin   {process}               {}
// pause, resume {}                      {}                waits for a freeze under way
// update        `linux.resources`       {}                runc update
// checkpoint    CheckpointRequest       CheckpointResult  notices progress; closing the connection cancels
// subscribe     {"after":N}             {}, then notices  every event after sequence number N, then live
// delete        {"force":B}             {}                after init's exit: runc delete, the shim ends;
//                                                         with force it kills first
struct ShimState {
  int version = 0;
  std::string status;  // "starting", "created", "running", "paused", "stopped"
  pid_t pid = 0;       // of init, in our pid namespace; 0: none yet
  absl::Time started_at;
  bool checkpointing = false;
  std::optional<ExitRecord> exit;
  struct Exec {
    std::string process;
    pid_t pid = 0;
    bool terminal = false;
    std::vector<std::string> args;
  };
  std::vector<Exec> execs;  // running ones
};
Json ToJson(const ShimState& state);
StatusOr<ShimState> ShimStateFromJson(const Json& json);

struct ExecRequest {
  std::string process;  // its id
  Json spec;            // runtime-spec `process` object
  Stdio stdio;
  bool wait_for_attach = false;
};
Json ToJson(const ExecRequest& request);
StatusOr<ExecRequest> ExecRequestFromJson(const Json& json);

inline constexpr char kFreezeCow[] = "cow";
inline constexpr char kFreezePlain[] = "plain";
// Not to be asked for: what copy on write becomes where the container does not go on.
inline constexpr char kFreezeDirect[] = "direct";

struct CheckpointRequest {
  std::string name;
  std::string directory;  // the checkpoint becomes DIRECTORY/NAME
  std::string store;      // that its content goes into
  std::string layer;      // the container's own layer, a directory; empty: its files are left out
  bool exit = false;      // kill the container once the checkpoint is published
  bool tcp = true;
  bool unix_sockets = true;
  bool shell = false;
  std::vector<std::string> empty_namespaces;
  uint64_t frozen_limit_ms = 10000;
  std::string freeze = kFreezeCow;  // or kFreezePlain
  std::string freeze_reason;        // why plain, where it was not asked for
  std::string engine_record;        // goes into the manifest
  // What it may be made without although a restored program is less safe then (criu/losses.h).
  std::vector<std::string> allow;
};
Json ToJson(const CheckpointRequest& request);
StatusOr<CheckpointRequest> CheckpointRequestFromJson(const Json& json);

struct CheckpointResult {
  uint64_t frozen_us = 0;
  uint64_t bytes = 0;
  // What the checkpoint does not bring back of what the container has, one sentence each: for its user.
  std::vector<std::string> warnings = {};
};
Json ToJson(const CheckpointResult& result);
StatusOr<CheckpointResult> CheckpointResultFromJson(const Json& json);

// Events that `subscribe` sends as notices "event". Sequence numbers begin at 1 and have no gaps. `exit` of a
// process never comes before its `start`.
struct ShimEvent {
  uint64_t sequence = 0;
  std::string type;  // of types.API: start-container, start-process, pause, resume, exit, oom
  std::string process;
  absl::Time at;
  std::optional<ExitRecord> exit;
};
Json ToJson(const ShimEvent& event);
StatusOr<ShimEvent> ShimEventFromJson(const Json& json);

// Attach: what is spoken on attach.sock.
//
// The client sends one frame {"id":1,"method":"attach","params":AttachRequest} and gets
// {"id":1,"result":{"terminal":B}}, or an error and the end. Then bytes: from the shim, raw where the process
// has a terminal, else Docker's frames (one byte stream: 1 stdout, 2 stderr; three zero bytes; length, four
// bytes, big endian; payload); to the shim, raw stdin. A half-close of the client ends its stdin; the shim
// closes when the process has ended and all its output is sent. A client that does not read holds up the
// process once 1 MiB waits for it. Attaching to an exec's id before the exec was asked for is allowed: the
// client then waits for the exec's output.
struct AttachRequest {
  std::string process = kInit;
  bool use_stdin = false;  // stdin, stdout and stderr are macros of <stdio.h>
  bool use_stdout = false;
  bool use_stderr = false;
};
Json ToJson(const AttachRequest& request);
StatusOr<AttachRequest> AttachRequestFromJson(const Json& json);

}  // namespace stasis::protocol
