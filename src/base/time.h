// Times as Docker writes and reads them. Wall-clock times are absl::Time, durations absl::Duration.
#pragma once

#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "base/status.h"

namespace stasis {

// RFC 3339 in UTC with nanoseconds, as Go's time.RFC3339Nano: trailing zeros of the fraction are left out,
// "2026-11-24T07:31:47.5Z". absl::InfinitePast() gives Docker's zero time "0001-01-01T00:00:00Z".
std::string ToRfc3339(absl::Time time);

// As ToRfc3339, always with nine digits: the timestamps of `docker logs -t`.
std::string ToLogTime(absl::Time time);

// Reads RFC 3339, with or without fraction and offset. kInvalidArgument otherwise.
StatusOr<absl::Time> FromRfc3339(std::string_view text);

// Reads what since= and until= of the Engine API carry: seconds since 1970 with an optional fraction of up to
// nine digits ("1700000000.000000001"), or RFC 3339. Relative times are made absolute by the client.
StatusOr<absl::Time> ParseUnixTime(std::string_view text);

}  // namespace stasis
