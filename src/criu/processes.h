// The processes of a container, read from /proc (proc(5)): for the verdict before a dump and for the
// manifest.
//
// What /proc says of a container's process is the container's to choose (names, command lines, paths): it is
// cut, and shown only as text.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace stasis::criu {

struct Process {
  pid_t pid = 0;           // ours
  pid_t inside = 0;        // as the container's init sees it (NSpid)
  pid_t parent = 0;        // ours
  int pid_namespaces = 0;  // how deep it lies: entries of NSpid
  pid_t tracer = 0;        // ours; 0: none, or one that we cannot see
  uint32_t user = 0;       // real uid, ours
  int threads = 0;
  uint64_t resident_bytes = 0;
  // Its first thread may have restricted itself (Landlock): PR_SET_NO_NEW_PRIVS, or CAP_SYS_ADMIN.
  bool may_be_restricted = false;
  char state = '?';     // R, S, D, T, t, Z ...
  std::string name;     // comm
  std::string command;  // command line with blanks between the arguments, at most 4 KiB; empty for a zombie
};

inline constexpr size_t kMaxCommand = 4096;
inline constexpr size_t kMaxProcesses = 16384;

// From the text of /proc/PID/status; `inside_depth` is which entry of NSpid the container sees (0: ours).
// kDataLoss when a field is missing.
StatusOr<Process> ParseProcessStatus(std::string_view text, int inside_depth);

// What the innermost pid namespace of a process or a thread knows it by (NSpid). kNotFound: it has ended.
StatusOr<pid_t> InnermostPid(pid_t thread);

// The tree below `init`, init first, then by pid as the container sees it: what CRIU dumps. Processes that
// end while it is read are left out. kNotFound: init itself is gone. kResourceExhausted: more than
// kMaxProcesses.
StatusOr<std::vector<Process>> ReadProcessTree(pid_t init);

// By SIGSTOP or its kin.
inline bool IsStopped(const Process& process) { return process.state == 'T'; }

// "process 7 (node)".
std::string Label(const Process& process);

}  // namespace stasis::criu
