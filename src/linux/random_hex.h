// Randomness from the kernel (getrandom(2)).
#pragma once

#include <cstddef>
#include <string>

namespace stasis {

// `bytes` random bytes as lower-case hex: 32 gives a container id.
std::string RandomHex(size_t bytes);

}  // namespace stasis
