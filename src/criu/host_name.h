// The name of the host in CRIU's images: what uname(2) tells a container.
#pragma once

#include <string>

#include "base/status.h"

namespace stasis::criu {

// Begins the names of the images that have it, "utsns-ID.img". A container with the host's own has none.
inline constexpr char kHostNameImage[] = "utsns-";

// In the image `name` in the directory `images`. kDataLoss: it is not CRIU's.
Status SetHostName(int images, const std::string& name, const std::string& host_name);

}  // namespace stasis::criu
