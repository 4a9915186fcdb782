// How far long work has come.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace stasis::backend {

struct Progress {
  std::string phase;              // what is being done: a word or two
  uint64_t bytes = 0;             // done in this phase
  uint64_t total = 0;             // of this phase, as far as it can be told; 0: it cannot
  uint64_t bytes_per_second = 0;  // since the phase began; 0: not known yet
};

// Told on the thread that does the work: not in the first second, then once a second at most.
using OnProgress = std::function<void(const Progress&)>;

}  // namespace stasis::backend
