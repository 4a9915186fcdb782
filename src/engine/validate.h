// Whether a container can be what it is asked to be, told at create time in Docker's words.
#pragma once

#include <cstdint>
#include <string>

#include "backend/containers.h"
#include "base/status.h"

namespace stasis::engine {

// kInvalidArgument for what is wrong, kUnimplemented for what a later issue brings; in both cases the message
// names the option. `cpus`: how many this machine has.
Status ValidateContainer(const backend::ContainerConfig& config, const backend::HostConfig& host_config,
                         int cpus);

// The part of `json-file`'s options that the log needs: "max-size" ("10m") and "max-file" ("3").
struct LogRotation {
  uint64_t max_size = 0;  // bytes; 0: never rotated
  uint32_t max_files = 1;
};
StatusOr<LogRotation> ParseLogOptions(const backend::HostConfig& host_config);

// "10m", "1.5g", "512", "64KiB" in bytes, as go-units' RAMInBytes.
StatusOr<uint64_t> ParseSize(const std::string& text);

}  // namespace stasis::engine
