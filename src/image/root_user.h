// Users of a root file system that a container may have written to: its etc/passwd and etc/group are read as
// the container sees them, never through a link out of it, never from a device or a pipe, and only so much of
// them.
#pragma once

#include <string>

#include "base/status.h"
#include "oci/user.h"

namespace stasis::image {

// `root` is the directory of a mounted root, e.g. what MountRoot returned. See oci::ResolveUser for `spec`
// and the errors. A missing file is an empty one.
StatusOr<oci::User> ResolveUserInRoot(const std::string& root, const std::string& spec);
StatusOr<uint32_t> ResolveGroupInRoot(const std::string& root, const std::string& spec);

}  // namespace stasis::image
