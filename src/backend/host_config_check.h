// The limits on what a request may ask of a HostConfig, resources apart, which the engine checks when it
// knows the machine (engine/validate.h). Records are not checked by it: what was accepted once stays so.
#pragma once

#include "backend/container_config.h"
#include "base/status.h"

namespace stasis::backend {

// kInvalidArgument in Docker's words: ulimits, devices and mounts.
Status CheckHostConfig(const HostConfig& config);

}  // namespace stasis::backend
