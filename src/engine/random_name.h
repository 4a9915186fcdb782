// Names for containers that were given none, of the kind Docker makes up: "steady_lovelace".
#pragma once

#include <cstdint>
#include <string>

namespace stasis::engine {

// An adjective, an underscore and a surname, chosen by `random`. From the fourth attempt on (attempt 3), a
// digit of `random` is put behind, so that a free one is found soon.
std::string MadeUpName(uint64_t random, int attempt);

// 64 random bits from the kernel.
uint64_t RandomNumber();

}  // namespace stasis::engine
