// Messages of types.API as the objects of the runtime-spec that runc takes.
#pragma once

#include "base/json.h"
#include "base/status.h"
#include "types/api.pb.h"

namespace stasis::supervisor {

// The `process` object for `runc exec`. Without capabilities the object has none, which gives the process
// those of the container, as containerd 0.2 did; an empty cwd means "/". kInvalidArgument: no arguments.
StatusOr<Json> ProcessSpec(const types::AddProcessRequest& request);

// The `linux.resources` object for `runc update`. What is 0 or empty is left out: it stays as it is.
Json ResourcesSpec(const types::UpdateResource& resources);

}  // namespace stasis::supervisor
