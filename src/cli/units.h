// Sizes, durations and times as users write and read them, in Docker's forms.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "base/status.h"

namespace stasis::cli {

// "64m", "1.5GiB", "1024": bytes; k, m, g, t, p are powers of 1024, as docker run's --memory has them.
StatusOr<int64_t> ParseBytes(std::string_view text);

// "0B", "1.23MB": powers of 1000, three digits, as docker images and docker ps show sizes.
std::string HumanSize(uint64_t bytes);

// "Less than a second", "3 seconds", "About a minute", "2 weeks".
std::string HumanDuration(absl::Duration duration);

// A time for since= and until= of the API: seconds since 1970 with nine digits of fraction. Takes a duration
// that lies before `now` ("10m", "1h30m"), RFC 3339, the same without zone ("2026-01-02T15:04:05", or
// shorter; local time), or seconds since 1970.
StatusOr<std::string> TimeParameter(std::string_view text, absl::Time now);

}  // namespace stasis::cli
