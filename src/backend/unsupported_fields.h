// What a client may ask of a new container that the Engine API has and Stasis has not: said, never dropped in
// silence.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace stasis::backend {

// Looks through the body of POST /containers/create. kUnimplemented, naming the field, where the container
// would not be what was asked for ("HostConfig.VolumesFrom is not implemented by Stasis yet"). Else a warning
// for each field that is ignored and does no harm by that.
StatusOr<std::vector<std::string>> CheckUnsupportedFields(const Json& body);

// The same warnings of what only the image asks for: `image` is the object `config` of its configuration,
// `asked` the request's own Config, in which {"Healthcheck":{"Test":["NONE"]}} takes the image's away.
std::vector<std::string> IgnoredOfImage(const Json& image, const Json& asked);

}  // namespace stasis::backend
