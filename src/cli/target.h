// Request targets of the Engine API, built from parts that a user typed.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace stasis::cli {

using Query = std::vector<std::pair<std::string, std::string>>;

// "/v1.47/containers/NAME/start?checkpoint=cp1": the parts of the path are encoded and joined by slashes,
// query parameters with an empty value are left out.
std::string Target(std::initializer_list<std::string_view> parts, const Query& query = {});

}  // namespace stasis::cli
