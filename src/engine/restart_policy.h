// When a container that ended is started again, and after how long.
#pragma once

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "base/status.h"

namespace stasis::engine {

struct RestartQuestion {
  std::string policy;  // of HostConfig
  int maximum = 0;     // of "on-failure"; 0: no limit
  int restart_count = 0;
  int exit_code = 0;
  bool stopped_by_user = false;  // or ended by a checkpoint
  absl::Duration ran_for;
  absl::Duration last_delay;  // zero: it was not restarted before
};

// How long to wait before it is started again: 100 ms, doubled each time up to a minute, from the beginning
// again once it has run for 10 s. Nothing: it stays as it is.
std::optional<absl::Duration> RestartDelay(const RestartQuestion& question);

// Whether the policy wants it started when the engine comes up.
bool StartsWithEngine(const std::string& policy, bool stopped_by_user);

// "invalid restart policy: ..." (400).
Status CheckRestartPolicy(const std::string& policy, int maximum, bool auto_remove);

}  // namespace stasis::engine
