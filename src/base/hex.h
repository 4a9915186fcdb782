// Bytes as text.
#pragma once

#include <string>
#include <string_view>

namespace stasis {

// Two lower-case hex digits for each byte.
std::string ToHex(std::string_view bytes);

}  // namespace stasis
