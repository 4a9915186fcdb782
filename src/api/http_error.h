// Errors whose HTTP status is not the one of their code.
#pragma once

#include <string_view>

#include "base/status.h"

namespace stasis::api {

// An error (kInvalidArgument) that is answered with `http_status`: 413, 415, ...
Status HttpError(int http_status, std::string_view message);

// The HTTP status `error` is answered with.
int HttpStatusOf(const Status& error);

// "Not Found" for 404; "" for what HTTP does not know.
std::string_view ReasonPhrase(int http_status);

}  // namespace stasis::api
