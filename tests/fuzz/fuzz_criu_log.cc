// CRIU's log quotes names that the container chose.
#include <cstdlib>

#include "criu/log.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  stasis::criu::Log log = stasis::criu::ParseLog({reinterpret_cast<const char*>(data), size});
  if (log.errors.size() > stasis::criu::kMaxErrors) std::abort();
  for (char c : log.cause) {
    if (static_cast<unsigned char>(c) < 0x20) std::abort();  // it goes into messages of one line
  }
  return 0;
}
