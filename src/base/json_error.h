// Why a text is no JSON, in the words of Go's encoding/json, which clients of Docker know.
#pragma once

#include <string>
#include <string_view>

namespace stasis {

inline constexpr std::string_view kContentAfterJson = "unexpected content after JSON";

// "invalid character 'i' looking for beginning of object key string", "unexpected EOF", kContentAfterJson.
// Empty where no fault is found. Recurses as deep as `text` is nested: the caller limits that.
std::string DescribeJsonError(std::string_view text);

}  // namespace stasis
