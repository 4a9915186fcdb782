#include "linux/memory_mapping.h"

#include <cstdio>

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

}  // namespace stasis
