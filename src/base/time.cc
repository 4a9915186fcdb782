#include "base/time.h"

#include <charconv>

namespace stasis {
namespace {

constexpr char kZeroTime[] = "0001-01-01T00:00:00Z";

absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }

bool ReadInteger(std::string_view text, int64_t* out) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

std::string ToRfc3339(absl::Time time) {
  if (time == absl::InfinitePast()) return kZeroTime;
  return absl::FormatTime("%E4Y-%m-%d%ET%H:%M:%E*SZ", time, absl::UTCTimeZone());
}

std::string ToLogTime(absl::Time time) {
  return absl::FormatTime("%E4Y-%m-%d%ET%H:%M:%E9SZ", time, absl::UTCTimeZone());
}

StatusOr<absl::Time> FromRfc3339(std::string_view text) {
  if (text == kZeroTime) return absl::InfinitePast();
  absl::Time time;
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, ToAbsl(text), absl::UTCTimeZone(), &time, &error)) {
    return InvalidArgument("not a time in RFC 3339: " + std::string(text));
  }
  return time;
}

StatusOr<absl::Time> ParseUnixTime(std::string_view text) {
  size_t dot = text.find('.');
  int64_t seconds = 0;
  if (!ReadInteger(text.substr(0, dot), &seconds)) return FromRfc3339(text);
  absl::Time time = absl::FromUnixSeconds(seconds);
  if (dot == text.npos) return time;
  std::string digits(text.substr(dot + 1));
  int64_t nanoseconds = 0;
  if (digits.empty() || digits.size() > 9 || digits[0] == '-' || digits[0] == '+') {
    return InvalidArgument("not a time: " + std::string(text));
  }
  digits.append(9 - digits.size(), '0');
  if (!ReadInteger(digits, &nanoseconds)) return InvalidArgument("not a time: " + std::string(text));
  return time + absl::Nanoseconds(nanoseconds);
}

}  // namespace stasis
