// One of HostConfig.Mounts (definition Mount of the API document).
#pragma once

#include "backend/config_json.h"
#include "backend/container_config.h"

namespace stasis::backend {

// Values are checked by CheckHostConfig.
MountRequest MountFromJson(const Json& json, Unread& unread);
Json ToJson(const MountRequest& mount);

}  // namespace stasis::backend
