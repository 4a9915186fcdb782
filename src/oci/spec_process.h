// The `process` object. For spec_builder.cc.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace stasis::oci {

// kInvalidArgument "FIELD: ..." for a text with a NUL in it; the kernel would see its first part only.
Status CheckText(std::string_view field, const std::string& text);
// The same, and it must be an absolute path.
Status CheckPath(std::string_view field, const std::string& path);

}  // namespace stasis::oci
