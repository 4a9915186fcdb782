// Bytes as text.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace stasis {

// Two lower-case hex digits for each byte.
std::string ToHex(std::string_view bytes);
// The way back: nothing where they are no such digits, or an odd number of them.
std::optional<std::string> FromHex(std::string_view text);

// RFC 3986: everything but unreserved characters becomes %XX.
std::string PercentEncode(std::string_view text);

}  // namespace stasis
