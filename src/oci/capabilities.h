// Linux capabilities by name (capabilities(7)) and Docker's rules for --cap-add, --cap-drop, --privileged.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace stasis::oci {

// "CAP_CHOWN" to "CAP_CHECKPOINT_RESTORE", in the order of their numbers.
const std::vector<std::string>& AllCapabilities();
// The fourteen that Docker gives a container.
const std::vector<std::string>& DefaultCapabilities();

// The names of the bits of a mask such as CapBnd of /proc/self/status; bits without a name are left out.
std::vector<std::string> CapabilitiesFromMask(uint64_t mask);

// "net_admin" and "CAP_NET_ADMIN" are "CAP_NET_ADMIN"; "all" is "ALL". kInvalidArgument:
// unknown capability: "CAP_FOO".
StatusOr<std::string> NormalizeCapability(std::string_view raw);

// What a container gets: the defaults without `drop` and with `add`; "ALL" in either is understood. Only what
// is in `available` is given, for the runtime cannot give more than the engine itself has. In the order of
// AllCapabilities. kInvalidArgument: invalid CapAdd: unknown capability: "CAP_FOO".
StatusOr<std::vector<std::string>> ContainerCapabilities(const std::vector<std::string>& add,
                                                         const std::vector<std::string>& drop,
                                                         bool privileged,
                                                         const std::vector<std::string>& available);

}  // namespace stasis::oci
