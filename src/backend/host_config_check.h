// The limits on what a request may ask of a HostConfig. Records are not checked by it: what was accepted once
// stays so.
#pragma once

#include "backend/container_config.h"
#include "base/status.h"

namespace stasis::backend {

// kInvalidArgument in Docker's words: resources, ulimits, devices and mounts.
Status CheckHostConfig(const HostConfig& config);

}  // namespace stasis::backend
