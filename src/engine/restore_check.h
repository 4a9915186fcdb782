// Whether a checkpoint may go on in a container that it was not made of.
#pragma once

#include <string>

#include "base/status.h"
#include "engine/record.h"

namespace stasis::engine {

// CRIU brings back the processes with the mounts, the credentials, the terminal and the namespaces that they
// had: whatever else `target` was created with would be silently dropped. `saved` is the record of the
// container that the checkpoint was made of. kFailedPrecondition: names every option in which they differ.
Status CheckSameOptions(const ContainerRecord& saved, const ContainerRecord& target);

}  // namespace stasis::engine
