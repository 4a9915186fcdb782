#include "store/page.h"

#include <cstring>

#include "base/hex.h"

namespace stasis::store {
namespace {

constexpr char kZeros[kPageBytes] = {};

int HexDigit(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  return -1;
}

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
  PageHash hash;
  if (hex.size() != 2 * hash.size()) return InvalidArgument("a page's hash: want 64 hex digits");
  for (size_t i = 0; i < hash.size(); ++i) {
    const int high = HexDigit(hex[2 * i]);
    const int low = HexDigit(hex[2 * i + 1]);
    if (high < 0 || low < 0) return InvalidArgument("a page's hash: want 64 hex digits");
    hash[i] = static_cast<unsigned char>(high * 16 + low);
  }
  return hash;
}

}  // namespace stasis::store
