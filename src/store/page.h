// The unit of the store: a page of 4096 bytes, known by its SHA-256 (docs/adr/0006).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/sha256.h"
#include "base/status.h"

namespace stasis::store {

inline constexpr size_t kPageBytes = 4096;

using PageHash = Sha256Bytes;

// Of kPageBytes zeros. That page is never stored.
const PageHash& ZeroPage();
bool IsZeroPage(const char* page);

// Hashes page after page; one for each thread.
class PageHasher {
 public:
  PageHash Hash(const char* page) {
    sha256_.Update({page, kPageBytes});
    return sha256_.FinishBytes();
  }

 private:
  Sha256 sha256_;
};

std::string ToHex(const PageHash& hash);
// kInvalidArgument: not 64 lower-case hex digits.
StatusOr<PageHash> PageHashFromHex(std::string_view hex);

}  // namespace stasis::store
