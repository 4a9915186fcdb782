#include "linux/random_hex.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/hex.h"

namespace stasis {

std::string RandomHex(size_t bytes) {
  std::string out;
  char buffer[256];
  while (bytes > 0) {
    ssize_t got = ::getrandom(buffer, std::min(bytes, sizeof buffer), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) std::abort();  // only a kernel without getrandom: no name of ours could be trusted
    out += ToHex({buffer, static_cast<size_t>(got)});
    bytes -= static_cast<size_t>(got);
  }
  return out;
}

}  // namespace stasis
