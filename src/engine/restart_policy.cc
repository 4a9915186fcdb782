#include "engine/restart_policy.h"

#include <algorithm>

namespace stasis::engine {

std::optional<absl::Duration> RestartDelay(const RestartQuestion& question) {
  if (question.stopped_by_user) return std::nullopt;
  const bool always = question.policy == "always" || question.policy == "unless-stopped";
  const bool on_failure = question.policy == "on-failure" && question.exit_code != 0 &&
                          (question.maximum == 0 || question.restart_count < question.maximum);
  if (!always && !on_failure) return std::nullopt;
  constexpr absl::Duration kFirst = absl::Milliseconds(100);
  if (question.ran_for >= absl::Seconds(10) || question.last_delay <= absl::ZeroDuration()) return kFirst;
  return std::min(question.last_delay * 2, absl::Minutes(1));
}

bool StartsWithEngine(const std::string& policy, bool stopped_by_user) {
  return policy == "always" || (policy == "unless-stopped" && !stopped_by_user);
}

Status CheckRestartPolicy(const std::string& policy, int maximum, bool auto_remove) {
  const bool restarts = policy == "always" || policy == "unless-stopped" || policy == "on-failure";
  if (!restarts && !policy.empty() && policy != "no") {
    return InvalidArgument("invalid restart policy: unknown policy '" + policy +
                           "'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'");
  }
  if (maximum < 0) {
    return InvalidArgument("invalid restart policy: maximum retry count cannot be negative");
  }
  if (maximum > 0 && policy != "on-failure") {
    return InvalidArgument(
        "invalid restart policy: maximum retry count cannot be used with restart policy '" +
        (policy.empty() ? "no" : policy) + "'");
  }
  if (auto_remove && restarts) {
    return InvalidArgument("can't create 'AutoRemove' container with restart policy");
  }
  return {};
}

}  // namespace stasis::engine
