// Whether a container can be what it is asked to be, told at create time in Docker's words.
#pragma once

#include <cstdint>
#include <string>

#include "backend/containers.h"
#include "base/status.h"
#include "engine/host.h"

namespace stasis::engine {

// kInvalidArgument for what is wrong, kUnimplemented for what a later issue brings; in both cases the message
// names the option.
Status ValidateContainer(const backend::ContainerConfig& config, const backend::HostConfig& host_config,
                         const Host& machine);

// The network that is asked for, and what cannot be had together with it. Looks at what the user asked for,
// before the image and the defaults are merged in. Whether another container whose network is to be joined is
// there, only its start asks, as with Docker.
Status ValidateNetwork(const backend::CreateRequest& request);

// The part of the log's options that the shim needs: "max-size" ("10m") and "max-file" ("3"). The driver
// "local" is json-file under another name, with its own defaults.
struct LogRotation {
  uint64_t max_size = 0;  // bytes; 0: never rotated
  uint32_t max_files = 1;
};
StatusOr<LogRotation> ParseLogOptions(const backend::HostConfig& host_config);

// "10m", "1.5g", "512", "64KiB" in bytes, as go-units' RAMInBytes.
StatusOr<uint64_t> ParseSize(const std::string& text);

}  // namespace stasis::engine
