// Device nodes of the host for containers that are given them.
#pragma once

#include <vector>

#include "backend/container_config.h"
#include "base/status.h"
#include "oci/spec_builder.h"

namespace stasis::engine {

// One of HostConfig.Devices. kInvalidArgument when it is no device.
StatusOr<oci::DeviceOptions> HostDevice(const backend::DeviceRequest& request);

// All below /dev, as --privileged gives them: without terminals, which are the container's own, and without
// those that the runtime makes anyway. What vanishes meanwhile is left out.
std::vector<oci::DeviceOptions> AllHostDevices();

}  // namespace stasis::engine
