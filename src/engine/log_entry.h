// Lines of Docker's json-file logs: {"log":"text\n","stream":"stdout","time":"2026-11-24T07:31:47.5Z"}.
#pragma once

#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "backend/containers.h"
#include "base/status.h"

namespace stasis::engine {

struct LogEntry {
  std::string text;
  bool is_stderr = false;
  absl::Time at;
};

// One line without its newline. kDataLoss when it is none: a writer that was killed leaves half a line.
StatusOr<LogEntry> ParseLogEntry(std::string_view line);

// Whether `options` want it: its stream, and not before `since`. (`until` ends a reading; see LogReader.)
bool Wanted(const LogEntry& entry, const backend::LogOptions& options);

// As the client gets it: behind a timestamp where asked for and behind `attributes` (log_attributes.h), in a
// frame of Docker's multiplexed streams unless `raw`.
std::string Render(const LogEntry& entry, bool timestamps, bool raw, const std::string& attributes = "");

}  // namespace stasis::engine
