// One `criu swrk FD`, driven by CRIU's RPC (https://criu.org/RPC): messages of proto/criu/rpc.proto over a
// SOCK_SEQPACKET socket, notifications on. CRIU stops at each notification until it is answered, which is
// what lets a caller freeze at `pre-dump` and publish at `post-dump`:
//
//   STASIS_ASSIGN_OR_RETURN(Session session, Session::Start(program));
//   STASIS_ASSIGN_OR_RETURN(Version version, session.AskVersion(deadline, cancel));
//   STASIS_RETURN_IF_ERROR(session.BeginDump(options));
//   session.Next(...)     -> "pre-dump": CRIU has started and probed; nothing of the container is touched
//   session.Answer(true)
//   session.Next(...)     -> "post-dump": all image files are written, the tasks are still stopped
//   session.Answer(true)     false: nothing is killed, the tasks run on
//   session.Next(...)     -> done
//
// Not thread-safe: one thread. A session that ends before it is done kills its CRIU (SIGKILL) and reaps it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "linux/clock.h"
#include "linux/subprocess.h"
#include "linux/unique_fd.h"

namespace stasis::criu {

struct Version {
  int major = 0;
  int minor = 0;
  int sublevel = 0;
  std::string Text() const;  // "4.2.1"
};

// The oldest CRIU that does: older ones refuse internet sockets on kernels from 6.16 on.
inline constexpr Version kOldestVersion{4, 2, 0};

// kFailedPrecondition: older than kOldestVersion; says so and what to do.
Status CheckVersion(const Version& version);

// src/criu/preload; it lies beside the programs.
inline constexpr char kPreloadLibrary[] = "stasis-criu-preload.so";

struct Program {
  std::string path;     // of criu
  std::string preload;  // path of kPreloadLibrary, or empty
  // Private memory is hidden from it, but what this file names (preload/pages.c). Empty: all is shown.
  std::string shown_memory = {};
  // Since when threads wait (preload/waits.c): written before `pre-dump` is answered.
  std::string waits = {};
  // Signals that came while it dumped (preload/late_signals.c): written until `post-dump`.
  std::string late_signals = {};
  // What it has learnt of the kernel (preload/kerndat.c); empty: it probes anew, or keeps its own.
  std::string kerndat = {};
  // A directory for the small images of each process (preload/task_images.c); empty: they are made beside the
  // others.
  std::string task_images = {};
  // Files of sockets that are not where they were bound (preload/sockets.c): written until `post-dump`.
  std::string sockets = {};
  // When the container's layer was made, in nanoseconds since 1970 (preload/removed_files.c). 0: it has none.
  int64_t layer_made = 0;
  // Sockets with peers outside the container (preload/sockets.c): written before the start. No file: none.
  std::string outside_peers = {};
};

struct ExternalMount {
  std::string key;  // mount point inside the container
  std::string value;
};

// What to dump, in the words of criu(8). Descriptors are borrowed until the first notification.
struct DumpOptions {
  pid_t process = 0;          // root of the tree
  int images_directory = -1;  // descriptor
  int work_directory = -1;    // descriptor; the log, statistics and irmap cache lie there
  std::string log_file;       // in the work directory
  int log_level = 3;          // 4 costs each process a fifth of its time
  std::string root;           // root file system of the tree, as the host sees it
  std::string freezer;        // freezer directory of its cgroup
  bool leave_running = true;  // else CRIU kills the tree once `post-dump` was answered with true
  bool tcp_established = false;
  bool external_unix_sockets = false;
  bool shell_job = false;
  bool force_irmap = false;
  uint32_t empty_namespaces = 0;      // CLONE_NEWNET or 0
  uint32_t freeze_timeout_s = 10;     // CRIU's own limit for the freezing alone
  std::vector<std::string> external;  // "net[INODE]:KEY"
  std::vector<ExternalMount> external_mounts;
};

struct Event {
  bool done = false;         // the dump has ended; otherwise a notification that waits for Answer
  std::string notification;  // "pre-dump", "network-lock", "post-dump", ...
  bool success = false;      // of a done one
  std::string error;         // of a failed one: CRIU's own first error message, or empty
};

class Session {
 public:
  // kNotFound and others: criu could not be executed.
  static StatusOr<Session> Start(const Program& program);
  Session(Session&&) noexcept = default;
  Session& operator=(Session&&) noexcept = default;

  const ProcessHandle& process() const { return child_.process(); }

  StatusOr<Version> AskVersion(Deadline deadline, std::stop_token cancel);
  // Asks for the dump; it goes on while Next is called. Once a session.
  Status BeginDump(const DumpOptions& options);
  // What CRIU says next. kDeadlineExceeded and kCancelled leave everything as it is; kUnavailable: CRIU has
  // died (the message says how).
  StatusOr<Event> Next(Deadline deadline, std::stop_token cancel);
  // Answers the notification that Next returned.
  Status Answer(bool success);
  // Waits until the process has ended by itself, as it does after a done event. Kills it at the deadline.
  void End(Deadline deadline);
  // SIGKILL, and reaped. Tasks that it had seized run on, but for the moments in which CRIU has changed a
  // task's registers (docs/adr/0002).
  void Kill();

 private:
  // CRIU's process group, in which it probes the kernel with children that stop and wait for it: a killed one
  // leaves them. They are to be killed before CRIU is reaped, while its number is its own.
  class Helpers {
   public:
    explicit Helpers(pid_t group) : group_(group) {}
    Helpers(Helpers&& other) noexcept : group_(std::exchange(other.group_, 0)) {}
    Helpers& operator=(Helpers&& other) noexcept;
    ~Helpers() { Kill(); }
    void Kill();

   private:
    pid_t group_;  // 0: none
  };

  Session(UniqueFd socket, Child child)
      : socket_(std::move(socket)), child_(std::move(child)), helpers_(child_.process().pid()) {}
  Status Died();

  UniqueFd socket_;
  Child child_;
  Helpers helpers_;  // behind it, so ended before it is reaped
};

}  // namespace stasis::criu
