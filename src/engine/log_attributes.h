// The attributes that `docker logs --details` writes before each line.
#pragma once

#include <string>

#include "backend/container_config.h"

namespace stasis::engine {

// "NAME=VALUE,NAME=VALUE ": those of the container's labels and of its environment that the log options
// `labels` and `env` name (lists with commas), sorted, encoded as in a URL's query. A blank alone where there
// are none.
std::string LogAttributes(const backend::ContainerConfig& config, const backend::HostConfig& host_config);

}  // namespace stasis::engine
