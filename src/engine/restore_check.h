// Whether a checkpoint may go on in a container, which need not be the one that it was made of, on this
// machine.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/record.h"
#include "manifest/manifest.h"

namespace stasis::engine {

// What of this machine matters to a restored program.
struct Machine {
  std::string architecture;
  std::vector<std::string> cpu_features;
  std::string criu_version;  // empty: not known
};

// CRIU brings back the processes with the mounts, the credentials, the terminal and the namespaces that they
// had: whatever else `target` was created with would be silently dropped. Its files are those over the same
// image. And they go on with the instructions that they found. `saved` is the record of the container that
// the checkpoint was made of, if it is known. kFailedPrecondition: names everything that is in the way.
Status CheckRestore(const Manifest& manifest, const std::optional<ContainerRecord>& saved,
                    const ContainerRecord& target, const Machine& machine);

}  // namespace stasis::engine
