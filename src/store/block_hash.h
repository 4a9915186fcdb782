// What a block of a pack is checked by: XXH3, 128 bits, in its canonical bytes (https://xxhash.com). Against
// damage only: who can forge a block can forge its pack's table as well (docs/adr/0006).
#pragma once

#include <array>
#include <string_view>

namespace stasis::store {

using BlockHash = std::array<unsigned char, 16>;

BlockHash HashBlock(std::string_view bytes);

}  // namespace stasis::store
