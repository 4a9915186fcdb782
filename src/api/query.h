// The query part of a request's target, decoded.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace stasis::api {

// Undoes %XX, and + for a space where `plus_is_space`. kInvalidArgument for a broken escape or a NUL byte.
StatusOr<std::string> PercentDecode(std::string_view text, bool plus_is_space);

// Read-only once made. A parameter that is given several times counts with its first value, except in All.
class Query {
 public:
  // `raw` is what follows the question mark. kInvalidArgument for broken escapes.
  static StatusOr<Query> Parse(std::string_view raw);

  // The value, "" when absent.
  std::string Text(std::string_view name) const;
  std::vector<std::string> All(std::string_view name) const;
  // Docker's reading of booleans: absent, "", "0", "no", "false" and "none" are false, anything else is true.
  bool Flag(std::string_view name) const;
  // nullopt when absent or empty. kInvalidArgument when it is no integer.
  StatusOr<std::optional<int64_t>> Integer(std::string_view name) const;
  // As Integer; also kInvalidArgument outside of minimum..maximum.
  StatusOr<std::optional<int>> Integer(std::string_view name, int minimum, int maximum) const;

 private:
  std::vector<std::pair<std::string, std::string>> parameters_;
};

}  // namespace stasis::api
