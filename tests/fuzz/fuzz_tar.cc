// Image archives: read through, headers and content.
#include <algorithm>
#include <cstring>

#include "image/tar_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  size_t at = 0;
  auto read = [&](char* out, size_t room) -> stasis::StatusOr<size_t> {
    size_t n = std::min(room, size - at);
    std::memcpy(out, data + at, n);
    at += n;
    return n;
  };
  auto tar = stasis::image::TarReader::Open(read, {});
  if (!tar.ok()) return 0;
  stasis::image::TarEntry entry;
  uint64_t bytes = 0;
  for (int n = 0; n < 1000; ++n) {
    auto more = (*tar)->Next(&entry);
    if (!more.ok() || !*more) break;
    stasis::image::TarBlock block;
    while (bytes < (64 << 20)) {  // a compressed archive may be endless
      auto next = (*tar)->NextBlock(&block);
      if (!next.ok() || !*next) break;
      bytes += block.bytes.size() + 1;
    }
    if (bytes >= (64 << 20)) return 0;
  }
  return 0;
}
