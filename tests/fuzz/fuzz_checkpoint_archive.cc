// Archives of checkpoints: taken in as far as they go. What is accepted must be a manifest that can be
// written.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "linux/files.h"
#include "transfer/checkpoint_archive.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto directory = stasis::TemporaryDirectory::Create("/tmp", "fuzz-archive-");
  if (!directory.ok()) std::abort();
  size_t at = 0;
  const auto read = [&](char* out, size_t room) -> stasis::StatusOr<size_t> {
    const size_t n = std::min(room, size - at);
    std::memcpy(out, data + at, n);
    at += n;
    return n;
  };
  // A few bytes may stand for very long files of zeros.
  const auto check = [](const stasis::Manifest& manifest) -> stasis::Status {
    uint64_t bytes = 0;
    for (const stasis::ManifestFile& file : manifest.files)
      bytes += std::min<uint64_t>(file.content.size, 1 << 30);
    return bytes < (64 << 20) ? absl::OkStatus() : stasis::InvalidArgument("long");
  };
  const auto import = stasis::transfer::CheckpointImport::Read(read, directory->path() + "/store", check, {});
  (void)import;
  return 0;
}
