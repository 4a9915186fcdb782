#include "store/page.h"

#include <cstring>

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
  static constexpr char kHex[] = "0123456789abcdef";
  std::string hex;
  for (const unsigned char byte : hash) {
    hex += kHex[byte >> 4];
    hex += kHex[byte & 15];
  }
  return hex;
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
