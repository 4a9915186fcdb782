// Reads a tar archive, plain or compressed once (gzip, zstd, bzip2, xz), from a stream, and hashes its
// uncompressed bytes on the way. Built on libarchive, which allows extended headers of at most 1 MiB.
#pragma once

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "base/names.h"
#include "base/status.h"
#include "image/image_store.h"

namespace stasis::image {

// The most that an archive or a layer may be when it is uncompressed: a few bytes can stand for very many.
inline constexpr uint64_t kMaxUncompressed = uint64_t{64} << 30;
// The same, or less where the file system of `directory` has less left.
StatusOr<uint64_t> UncompressedLimit(const std::string& directory);

enum class EntryType {
  kFile,
  kDirectory,
  kSymlink,
  kHardlink,
  kCharacterDevice,
  kBlockDevice,
  kFifo,
  kOther
};

// One header. Texts are the archive's own bytes: nothing is checked or normalized.
struct TarEntry {
  EntryType type = EntryType::kOther;
  std::string path;
  std::string link_target;  // of a symlink or hard link
  uint32_t mode = 0;        // permission bits, set-id bits and the sticky bit
  int64_t uid = 0;
  int64_t gid = 0;
  int64_t size = 0;
  timespec modified = {};
  timespec accessed = {};  // `modified` where the archive has none
  uint64_t device_major = 0;
  uint64_t device_minor = 0;
  std::vector<std::pair<std::string, std::string>> xattrs;
};

// A piece of a file's content. Gaps between pieces are holes.
struct TarBlock {
  std::string_view bytes;  // valid until the next call
  uint64_t offset = 0;
};

// For one thread.
class TarReader {
 public:
  // Calls `read` from now on until it is destroyed. Uncompressed bytes beyond `limit` are kInvalidArgument.
  static StatusOr<std::unique_ptr<TarReader>> Open(ReadBytes read, std::stop_token cancel,
                                                   uint64_t limit = kMaxUncompressed);
  ~TarReader();

  // The next header, or false at the end. What was not read of the last entry's content is skipped.
  // kInvalidArgument for a damaged archive, kCancelled, or what `read` returned.
  StatusOr<bool> Next(TarEntry* entry);
  // The next piece of the current entry's content, or false at its end.
  StatusOr<bool> NextBlock(TarBlock* block);
  // Reads what is behind the end of the archive and returns the digest of all uncompressed bytes. Once, after
  // Next has returned false.
  StatusOr<Digest> Finish();

 private:
  struct State;
  explicit TarReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace stasis::image
