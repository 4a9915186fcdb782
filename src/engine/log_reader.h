// Reads a container's log, which the shim writes: PATH, and PATH.1, PATH.2, ... where it is rotated, a higher
// number being older.
//
// The writer renames files while they are read. A reader knows a file by its inode, so nothing is read twice,
// and nothing is missed unless it was rotated away altogether.
#pragma once

#include <stop_token>
#include <string>

#include "backend/containers.h"
#include "backend/streams.h"
#include "base/status.h"

namespace stasis::engine {

struct LogSource {
  std::string path;
  bool raw = false;             // a terminal's: no frames
  std::string attributes = {};  // before each line: log_attributes.h, or nothing
  std::stop_token ended;        // triggered when the container has ended and its log is whole
};

// Gives what `options` choose to `sink`, then, with follow, what comes, until `ended` and all is read,
// `until`, or `cancel` (which is no error). A log that is not there is empty.
Status ReadLog(const LogSource& source, const backend::LogOptions& options, const backend::ByteSink& sink,
               std::stop_token cancel);

}  // namespace stasis::engine
