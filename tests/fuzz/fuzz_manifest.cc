// A manifest may come from elsewhere: what is accepted must survive its own way back.
#include <cstdlib>

#include "manifest/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto manifest = stasis::ParseManifest({reinterpret_cast<const char*>(data), size});
  if (manifest.ok() && !stasis::ParseManifest(stasis::ToText(*manifest)).ok()) std::abort();
  return 0;
}
