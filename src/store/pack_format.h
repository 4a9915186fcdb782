// The bytes of a pack that are not pages (docs/formats/store.md). Numbers are little-endian.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "base/sha256.h"
#include "store/block_hash.h"

namespace stasis::store {

static_assert(std::endian::native == std::endian::little);

inline constexpr uint32_t kPackVersion = 3;
inline constexpr uint32_t kOldestPackVersion = 2;  // that is read
inline constexpr char kPackMagic[8] = {'S', 'T', 'A', 'S', 'P', 'A', 'C', 'K'};

// At the beginning of the file.
struct PackHeader {
  char magic[8];
  uint32_t version;
  uint32_t id;
};
static_assert(sizeof(PackHeader) == 16);

inline PackHeader MakePackHeader(uint32_t id) {
  PackHeader header = {};
  std::memcpy(header.magic, kPackMagic, sizeof kPackMagic);
  header.version = kPackVersion;
  header.id = id;
  return header;
}

// One of the table of blocks.
struct PackBlock {
  enum Codec : uint32_t { kRaw = 0, kZstd = 1, kLz4 = 2 };
  uint64_t offset;  // in the file
  uint32_t size;    // as stored
  uint32_t codec;
  BlockHash hash;  // of the stored bytes
};
static_assert(sizeof(PackBlock) == 32);

// At the end of the file.
struct PackFooter {
  uint64_t index_offset;  // of the hashes; the table of blocks follows them
  uint32_t pages;
  uint32_t blocks;
  Sha256Bytes index_hash;  // of the hashes, the table, the fields above and the header
  char magic[8];
};
static_assert(sizeof(PackFooter) == 56);

}  // namespace stasis::store
