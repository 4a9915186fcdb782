#include "api/query.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <limits>

#include "absl/strings/ascii.h"
#include "base/hex.h"

namespace stasis::api {
StatusOr<std::string> PercentDecode(std::string_view text, bool plus_is_space) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      std::string digits(text.substr(i + 1, 2));
      absl::AsciiStrToLower(&digits);
      const auto byte = FromHex(digits);
      if (!byte || byte->size() != 1) return InvalidArgument("malformed % escape in the URL");
      c = byte->front();
      i += 2;
    } else if (c == '+' && plus_is_space) {
      c = ' ';
    }
    if (c == '\0') return InvalidArgument("NUL byte in the URL");
    out += c;
  }
  return out;
}

StatusOr<Query> Query::Parse(std::string_view raw) {
  Query query;
  while (!raw.empty()) {
    size_t end = raw.find('&');
    std::string_view pair = raw.substr(0, end);
    raw = end == raw.npos ? std::string_view() : raw.substr(end + 1);
    if (pair.empty()) continue;
    size_t equals = pair.find('=');
    STASIS_ASSIGN_OR_RETURN(std::string name, PercentDecode(pair.substr(0, equals), true));
    std::string value;
    if (equals != pair.npos) {
      STASIS_ASSIGN_OR_RETURN(value, PercentDecode(pair.substr(equals + 1), true));
    }
    query.parameters_.emplace_back(std::move(name), std::move(value));
  }
  return query;
}

std::string Query::Text(std::string_view name) const {
  for (const auto& [key, value] : parameters_) {
    if (key == name) return value;
  }
  return "";
}

std::vector<std::string> Query::All(std::string_view name) const {
  std::vector<std::string> values;
  for (const auto& [key, value] : parameters_) {
    if (key == name) values.push_back(value);
  }
  return values;
}

bool Query::Flag(std::string_view name) const {
  std::string value = Text(name);
  std::transform(value.begin(), value.end(), value.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  size_t first = value.find_first_not_of(" \t");
  if (first == value.npos) return false;
  value = value.substr(first, value.find_last_not_of(" \t") - first + 1);
  return value != "0" && value != "no" && value != "false" && value != "none";
}

StatusOr<std::optional<int64_t>> Query::Integer(std::string_view name) const {
  std::string value = Text(name);
  if (value.empty()) return std::nullopt;
  int64_t number = 0;
  auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size()) {
    return InvalidArgument("invalid value for parameter " + std::string(name) + ": \"" + value +
                           "\" is not an integer");
  }
  return number;
}

StatusOr<std::optional<int>> Query::Integer(std::string_view name, int minimum, int maximum) const {
  STASIS_ASSIGN_OR_RETURN(std::optional<int64_t> number, Integer(name));
  if (!number) return std::nullopt;
  if (*number < minimum || *number > maximum) {
    return InvalidArgument("invalid value for parameter " + std::string(name) + ": " +
                           std::to_string(*number) + " is not in " + std::to_string(minimum) + ".." +
                           std::to_string(maximum));
  }
  return static_cast<int>(*number);
}

}  // namespace stasis::api
