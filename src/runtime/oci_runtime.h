// Driving an OCI runtime (runc) by its command line. Each function runs the program once, to its end, and
// says in its error what the runtime itself gave as the reason: the last error of its log, never "exit status
// 1".
//
// Containers and processes are started detached: the runtime exits, and what it started becomes a child of
// the nearest sub-reaper, whose number is in the pid file.
//
// Thread-safe: calls may run beside each other. Limits: a call that runs into its deadline or is cancelled
// has its runtime killed; what that left half done is for Delete(force).
#pragma once

#include <sys/types.h>

#include <atomic>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "linux/clock.h"
#include "linux/subprocess.h"

namespace stasis {

struct OciRuntimeOptions {
  std::string path;                         // of runc, absolute
  std::string root;                         // runc --root
  std::vector<std::string> arguments = {};  // further global ones
  std::string criu;            // absolute; its directory comes first in runc's PATH. May be empty
  std::string work_directory;  // logs and pid files of single calls; ours alone
};

struct OciLimits {
  Deadline deadline = kNoDeadline;
  std::stop_token cancel = {};
};

// What a new process gets as standard streams: either three descriptors, borrowed for the call, or a terminal
// whose master end is sent to `console_socket`, a listening unix socket.
struct OciStreams {
  int input = -1;  // -1: /dev/null
  int output = -1;
  int error = -1;
  std::string console_socket;  // empty: no terminal
};

struct OciRestore {
  std::string images;  // directory of CRIU's images
  std::string work;    // for restore.log, made when it is not there
  bool tcp_established = true;
  bool file_locks = true;
  bool external_unix_sockets = true;
  bool shell_job = false;
  std::vector<std::string> empty_namespaces = {};
  std::map<std::string, std::string> criu_environment = {};  // further variables, which reach CRIU
};

class OciRuntime {
 public:
  explicit OciRuntime(OciRuntimeOptions options) : options_(std::move(options)) {}

  // These return the pid, in our namespace, of what was started.
  StatusOr<pid_t> Create(const std::string& id, const std::string& bundle, bool no_pivot,
                         const OciStreams& streams, const OciLimits& limits);
  // `process` is a runtime-spec process object; its "terminal" must fit the streams.
  StatusOr<pid_t> Exec(const std::string& id, const Json& process, const OciStreams& streams,
                       const OciLimits& limits);
  // The error says why, from CRIU's restore.log (criu/verdict.h).
  StatusOr<pid_t> Restore(const std::string& id, const std::string& bundle, bool no_pivot,
                          const OciStreams& streams, const OciRestore& restore, const OciLimits& limits);

  Status Start(const std::string& id, const OciLimits& limits);
  Status Update(const std::string& id, const Json& resources, const OciLimits& limits);
  // Not an error when there is no such container. With force its processes are killed first.
  Status Delete(const std::string& id, bool force, const OciLimits& limits);

 private:
  struct Call;  // one run: its files, its argv
  Call NewCall(std::vector<std::string> arguments);
  Status RunCall(const Call& call, const OciStreams* streams, const std::string& input,
                 const OciLimits& limits);
  StatusOr<pid_t> Launch(Call call, const OciStreams& streams, const OciLimits& limits);

  const OciRuntimeOptions options_;
  std::atomic<uint64_t> calls_ = 0;
};

// The message of the last line of a runtime's JSON log whose level is error or fatal; empty when there is
// none.
std::string LastRuntimeError(std::string_view log);

}  // namespace stasis
