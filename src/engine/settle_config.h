// What a user leaves open, filled in as Docker does at create: inspect shows it, and it does not change later
// with the machine or the engine.
#pragma once

#include <string>
#include <vector>

#include "engine/host.h"
#include "engine/record.h"

namespace stasis::engine {

// After the image's configuration was merged in and all was validated. Returns warnings: what this machine
// cannot do is taken out of the record.
std::vector<std::string> SettleConfig(const Host& machine, ContainerRecord* record);

}  // namespace stasis::engine
