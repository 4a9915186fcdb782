// The Dockerfile lines of `docker import --change`.
#pragma once

#include <string>

#include "base/json.h"
#include "base/status.h"

namespace stasis::image {

// Applies one line, such as `ENV A=b` or `CMD ["sh"]`, to the `config` object of an image configuration.
// Understands CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME and WORKDIR. kInvalidArgument for
// anything else.
Status ApplyChange(const std::string& line, Json* config);

}  // namespace stasis::image
