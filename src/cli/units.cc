#include "cli/units.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "base/time.h"

namespace stasis::cli {
namespace {

std::string Format(const char* format, double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, format, value);
  return buffer;
}

// The power of 1024 that a suffix without its optional "b" or "ib" names, or -1.
int PowerOf(char unit) {
  switch (unit) {
    case 'k':
      return 1;
    case 'm':
      return 2;
    case 'g':
      return 3;
    case 't':
      return 4;
    case 'p':
      return 5;
    default:
      return -1;
  }
}

std::string Lower(std::string_view text) {
  std::string out;
  for (char c : text) out += (c >= 'A' && c <= 'Z') ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

std::string ToParameter(absl::Time time) {
  const int64_t seconds = absl::ToUnixSeconds(time);
  const int64_t nanos = absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds));
  char buffer[48];
  std::snprintf(buffer, sizeof buffer, "%lld.%09lld", static_cast<long long>(seconds),
                static_cast<long long>(nanos));
  return buffer;
}

}  // namespace

StatusOr<int64_t> ParseBytes(std::string_view text) {
  const Status invalid = InvalidArgument("invalid size: '" + std::string(text) + "'");
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || !std::isfinite(number) || number < 0) return invalid;
  std::string suffix = Lower(text.substr(static_cast<size_t>(end - text.data())));
  if (!suffix.empty() && suffix.front() == ' ') suffix.erase(0, 1);
  double factor = 1;
  if (!suffix.empty() && suffix != "b") {
    const int power = PowerOf(suffix.front());
    const std::string_view rest = std::string_view(suffix).substr(1);
    if (power < 0 || !(rest.empty() || rest == "b" || rest == "ib")) return invalid;
    factor = std::pow(1024.0, power);
  }
  if (number * factor >= 9.2e18) return invalid;
  return static_cast<int64_t>(number * factor);
}

std::string HumanSize(uint64_t bytes) {
  constexpr std::array kUnits = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return Format("%.3g", value) + kUnits[unit];
}

std::string HumanDuration(absl::Duration duration) {
  const int64_t seconds = absl::ToInt64Seconds(duration);
  const int64_t minutes = seconds / 60;
  const int64_t hours = (seconds + 1800) / 3600;
  if (seconds < 1) return "Less than a second";
  if (seconds == 1) return "1 second";
  if (seconds < 60) return std::to_string(seconds) + " seconds";
  if (minutes == 1) return "About a minute";
  if (minutes < 60) return std::to_string(minutes) + " minutes";
  if (hours == 1) return "About an hour";
  if (hours < 48) return std::to_string(hours) + " hours";
  if (hours < 24 * 7 * 2) return std::to_string(hours / 24) + " days";
  if (hours < 24 * 30 * 2) return std::to_string(hours / 24 / 7) + " weeks";
  if (hours < 24 * 365 * 2) return std::to_string(hours / 24 / 30) + " months";
  return std::to_string(hours / 24 / 365) + " years";
}

StatusOr<std::string> TimeParameter(std::string_view text, absl::Time now) {
  const std::string copy(text);
  if (auto time = ParseUnixTime(text); time.ok()) return ToParameter(*time);
  absl::Duration ago;
  if (absl::ParseDuration(copy, &ago)) return ToParameter(now - ago);
  for (const char* format : {"%Y-%m-%dT%H:%M:%E*S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"}) {
    absl::Time time;
    if (absl::ParseTime(format, copy, absl::LocalTimeZone(), &time, nullptr)) return ToParameter(time);
  }
  return InvalidArgument("invalid time: '" + copy + "': want a duration such as 10m, or RFC 3339");
}

}  // namespace stasis::cli
