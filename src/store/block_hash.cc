#include "store/block_hash.h"

#include <xxhash.h>

#include <cstring>

namespace stasis::store {

BlockHash HashBlock(std::string_view bytes) {
  XXH128_canonical_t canonical;
  ::XXH128_canonicalFromHash(&canonical, ::XXH3_128bits(bytes.data(), bytes.size()));
  BlockHash hash;
  static_assert(sizeof canonical.digest == sizeof hash);
  std::memcpy(hash.data(), canonical.digest, sizeof canonical.digest);
  return hash;
}

}  // namespace stasis::store
