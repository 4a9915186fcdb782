// CRIU's log (dump.log, restore.log): lines of "(SECONDS.MICROSECONDS) [ PID: ]Error (FILE:LINE): TEXT". It
// quotes names that the container chose, so a line may lie: it is shown, and decides nothing but a message.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace stasis::criu {

struct LogError {
  pid_t process = 0;  // whom CRIU worked on (ours), where the log says it; 0: unknown
  std::string place;  // "criu/files-ext.c:94"
  std::string text;   // printable, at most 1 KiB
  // "10.0.0.2:6379": of the internet socket that CRIU had begun to make again in that process; empty: of
  // none.
  std::string address = {};
};

struct Log {
  std::vector<LogError> errors;    // the last kMaxErrors before the end, without the harmless ones
  std::vector<LogError> warnings;  // the last kMaxErrors before the end
  bool failed = false;             // "Dumping FAILED" or "Restoring FAILED" was seen
  std::string cause;               // text of the error that tells most, or empty
};

inline constexpr size_t kMaxErrors = 256;

// The cause is the last error before "... FAILED" that is neither harmless ("Can't setup RLIMIT_NOFILE") nor
// a mere consequence ("Dump files (pid: 7) failed with -1"). Never fails: what is no log has no errors.
Log ParseLog(std::string_view text);

// The last MiB of the file, parsed. kNotFound.
StatusOr<Log> ReadLog(const std::string& path);

}  // namespace stasis::criu
