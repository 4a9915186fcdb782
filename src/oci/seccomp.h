// Seccomp profiles: Docker's JSON form made into the `linux.seccomp` of a runtime-spec configuration.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace stasis::oci {

// What a profile's `includes` and `excludes` ask about.
struct SeccompContext {
  std::string architecture;               // Go's name: "amd64", "arm64"
  std::vector<std::string> capabilities;  // the container's bounding set
  int kernel_major = 0;
  int kernel_minor = 0;
};

// Docker's default profile in Docker's form. It answers EPERM to what it does not list, io_uring among it (so
// that programs fall back to what can be checkpointed), and ENOSYS to clone3 (so that libc falls back to
// clone).
const Json& DefaultSeccompProfile();

// Converts. Keeps the rules whose conditions hold; a rule for a system call may come more than once. Null
// when the profile is empty, which means no seccomp at all. kInvalidArgument names what is wrong with the
// profile.
StatusOr<Json> ConvertSeccompProfile(const Json& profile, const SeccompContext& context);

// The name of the architecture this program was built for, as `architecture` wants it.
std::string NativeArchitecture();

}  // namespace stasis::oci
