#include "linux/random_hex.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

namespace stasis {

std::string RandomHex(size_t bytes) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes * 2);
  unsigned char buffer[256];
  while (bytes > 0) {
    ssize_t got = ::getrandom(buffer, std::min(bytes, sizeof buffer), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) std::abort();  // only a kernel without getrandom: no name of ours could be trusted
    for (ssize_t i = 0; i < got; ++i) {
      out += kHex[buffer[i] >> 4];
      out += kHex[buffer[i] & 15];
    }
    bytes -= static_cast<size_t>(got);
  }
  return out;
}

}  // namespace stasis
