// What /proc tells of a process or a thread (proc(5)). kNotFound: it has ended, or never was.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace stasis {

// "/proc/PID/FILE".
std::string ProcPath(pid_t process, std::string_view file);

struct ProcessStat {
  char state = '?';         // R, S, D, T, t, Z ...
  pid_t parent = 0;         // 0: none that we can see
  uint64_t start_time = 0;  // in clock ticks since boot
  int exit_signal = 0;      // what its parent gets at its end; 0: none, or of a thread
  int processor = 0;        // on which it was last
  bool ending = false;      // it is on its way out, and has none of its files any more
  int exit_code = 0;        // of one that has ended, as wait(2) tells it, where we may know
};
// From the text of /proc/PID/stat. kDataLoss.
StatusOr<ProcessStat> ParseProcessStat(const std::string& text);
StatusOr<ProcessStat> ReadProcessStat(pid_t process);

StatusOr<std::vector<pid_t>> ListThreads(pid_t process);

// Whether SIGKILL is pending for the thread, as it is for all but one in an execve(2), until they have ended.
StatusOr<bool> IsKilled(pid_t thread);

// Of all its threads. One that is gone has none.
std::vector<pid_t> ListChildren(pid_t process);

// Where a link in /proc leads: a path, or what stands for one, such as "pipe:[123]".
StatusOr<std::string> ReadProcLink(const std::string& path);

}  // namespace stasis
