#include "store/page.h"

#include <cstring>

#include "base/hex.h"

namespace stasis::store {
namespace {

constexpr char kZeros[kPageBytes] = {};

}  // namespace

const PageHash& ZeroPage() {
  static const PageHash hash = PageHasher().Hash(kZeros);
  return hash;
}

bool IsZeroPage(const char* page) { return std::memcmp(page, kZeros, kPageBytes) == 0; }

std::string ToHex(const PageHash& hash) {
  return stasis::ToHex({reinterpret_cast<const char*>(hash.data()), hash.size()});
}

StatusOr<PageHash> PageHashFromHex(std::string_view hex) {
  const auto bytes = FromHex(hex);
  PageHash hash;
  if (!bytes || bytes->size() != hash.size()) return InvalidArgument("a page's hash: want 64 hex digits");
  std::memcpy(hash.data(), bytes->data(), hash.size());
  return hash;
}

}  // namespace stasis::store
