#include "linux/memory_mapping.h"

#include <cstdio>
#include <sstream>
#include <utility>

#include "linux/files.h"
#include "linux/proc.h"

namespace stasis {

std::optional<MemoryMapping> ParseMemoryMapping(const std::string& line) {
  MemoryMapping mapping;
  char sharing = 0;
  int name = -1;
  const int fields = std::sscanf(line.c_str(), "%lx-%lx %*c%*c%*c%c %*s %*s %*s %n", &mapping.range.begin,
                                 &mapping.range.end, &sharing, &name);
  if (fields != 3) return std::nullopt;
  mapping.shared = sharing == 's';
  if (name >= 0) mapping.name = line.substr(static_cast<size_t>(name));
  return mapping;
}

StatusOr<std::vector<MemoryMapping>> ReadMemoryMappings(pid_t process) {
  STASIS_ASSIGN_OR_RETURN(std::string text, ReadFile(ProcPath(process, "maps")));
  std::istringstream lines(std::move(text));
  std::vector<MemoryMapping> mappings;
  for (std::string line; std::getline(lines, line);) {
    if (auto mapping = ParseMemoryMapping(line)) mappings.push_back(*std::move(mapping));
  }
  return mappings;
}

}  // namespace stasis
