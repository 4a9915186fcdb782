// A mapping of a process's memory, as /proc/PID/maps and /proc/PID/smaps say it (proc(5)).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace stasis {

struct AddressRange {
  uint64_t begin = 0;
  uint64_t end = 0;
  uint64_t size() const { return end - begin; }
};

struct MemoryMapping {
  AddressRange range;
  bool shared = false;
  std::string name;  // a path, "[heap]" and the like, or empty
};

// From one line; of smaps most lines are none.
std::optional<MemoryMapping> ParseMemoryMapping(const std::string& line);

// All of a process, by address; a zombie has none. kNotFound: it has ended.
StatusOr<std::vector<MemoryMapping>> ReadMemoryMappings(pid_t process);

}  // namespace stasis
