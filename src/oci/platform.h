// What an image is made for, as Docker's `--platform` and an image's configuration say it.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace stasis::oci {

struct Platform {
  std::string os = {};
  std::string architecture = {};
  std::string variant = {};  // often unsaid
};

// "linux/arm64", "linux/arm/v7", "arm64" or "linux"; what is left out is this machine's. Other names of an
// architecture become Go's: "x86_64" is "amd64". kInvalidArgument in Docker's words.
StatusOr<Platform> ParsePlatform(std::string_view text);

// "linux/arm64/v8"; "unknown" without an operating system.
std::string FormatPlatform(const Platform& platform);

// This machine's. Its variant is not told.
Platform NativePlatform();

// Whether an image for `image` is what who asks for `wanted` means: as Docker has it, also one for an older
// variant or the 32-bit sibling of the architecture, and one that says no variant.
bool Satisfies(const Platform& image, const Platform& wanted);

}  // namespace stasis::oci
