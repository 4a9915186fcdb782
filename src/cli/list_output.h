// What `stasis ps` and `stasis images` print, from the daemon's lists: docker's tables, or one JSON object a
// line with docker's fields.
#pragma once

#include <string>

#include "absl/time/time.h"
#include "base/json.h"
#include "base/status.h"

namespace stasis::cli {

struct ListForm {
  bool quiet = false;  // ids alone
  bool whole = false;  // nothing shortened
  bool json = false;
};

// `list` is the answer of GET /containers/json or of GET /images/json. kInvalidArgument: it is not of that
// form.
StatusOr<std::string> ContainerList(const Json& list, const ListForm& form, absl::Time now);
StatusOr<std::string> ImageList(const Json& list, const ListForm& form, absl::Time now);

}  // namespace stasis::cli
