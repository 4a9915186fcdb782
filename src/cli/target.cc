#include "cli/target.h"

#include "base/hex.h"

namespace stasis::cli {
namespace {

constexpr char kVersionPrefix[] = "/v1.47";

}  // namespace

std::string Target(std::initializer_list<std::string_view> parts, const Query& query) {
  std::string target = kVersionPrefix;
  for (std::string_view part : parts) target += "/" + PercentEncode(part);
  char separator = '?';
  for (const auto& [name, value] : query) {
    if (value.empty()) continue;
    target += separator + PercentEncode(name) + "=" + PercentEncode(value);
    separator = '&';
  }
  return target;
}

}  // namespace stasis::cli
