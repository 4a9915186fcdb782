// The files of one rotated log, as log_reader.cc reads them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "linux/unique_fd.h"

namespace stasis::engine {

// One of them, open, with the place reached in it.
struct LogFile {
  UniqueFd fd;
  ino_t inode = 0;
  uint64_t offset = 0;
  std::string partial;  // the beginning of a line whose end was not there yet
};

// Those that are there, oldest first.
StatusOr<std::vector<LogFile>> OpenLogFiles(const std::string& path);

// Moves `files` to the last `lines` lines of them all.
Status SeekToTail(std::vector<LogFile>* files, int64_t lines);

// Gives each whole line from the current place to `on_line`, until it returns false or there are no more.
// Returns false when on_line did. A file that was cut shorter is read from its beginning.
StatusOr<bool> ReadLines(LogFile* file, const std::function<StatusOr<bool>(std::string_view line)>& on_line);

// The file the writer went on with after `inode`: none while that is still PATH itself. When `inode` was
// rotated away, the oldest one.
StatusOr<std::optional<LogFile>> OpenSuccessor(const std::string& path, ino_t inode);

}  // namespace stasis::engine
