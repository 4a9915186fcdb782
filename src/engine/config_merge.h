// What the user asked for and what the image says, merged as Docker merges them.
#pragma once

#include <string>
#include <vector>

#include "backend/container_config.h"
#include "base/json.h"
#include "base/status.h"

namespace stasis::engine {

// Fills `user` from the `config` object of the image's configuration (image-spec, config.md).
// What cannot be read of the image's fields counts as absent, and is logged.
void MergeImageConfig(const Json& image_config, backend::ContainerConfig* user);

// Entrypoint and command as one list. kInvalidArgument "No command specified".
StatusOr<std::vector<std::string>> CommandOf(const backend::ContainerConfig& config);

}  // namespace stasis::engine
