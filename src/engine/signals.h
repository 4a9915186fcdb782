// Signals by the names and numbers that clients write (signal(7)).
#pragma once

#include <string_view>

#include "base/status.h"

namespace stasis::engine {

// "SIGTERM", "term", "15", "RTMIN+3". kInvalidArgument "Invalid signal: %s".
StatusOr<int> ParseSignal(std::string_view text);

}  // namespace stasis::engine
