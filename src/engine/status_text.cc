#include "engine/status_text.h"

#include "absl/strings/str_cat.h"

namespace stasis::engine {

std::string HumanDuration(absl::Duration duration) {
  const int64_t seconds = absl::ToInt64Seconds(duration);
  if (seconds < 1) return "Less than a second";
  if (seconds == 1) return "1 second";
  if (seconds < 60) return absl::StrCat(seconds, " seconds");
  const int64_t minutes = seconds / 60;
  if (minutes == 1) return "About a minute";
  if (minutes < 60) return absl::StrCat(minutes, " minutes");
  const int64_t hours = (seconds + 1800) / 3600;  // rounded, as Docker does from here on
  if (hours == 1) return "About an hour";
  if (hours < 48) return absl::StrCat(hours, " hours");
  if (hours < 24 * 7 * 2) return absl::StrCat(hours / 24, " days");
  if (hours < 24 * 30 * 2) return absl::StrCat(hours / 24 / 7, " weeks");
  if (hours < 24 * 365 * 2) return absl::StrCat(hours / 24 / 30, " months");
  return absl::StrCat(hours / 24 / 365, " years");
}

std::string StatusText(const backend::ContainerState& state, absl::Time now) {
  const std::string since_end = HumanDuration(now - state.finished_at);
  if (state.restarting) return absl::StrCat("Restarting (", state.exit_code, ") ", since_end, " ago");
  if (state.running) {
    return absl::StrCat("Up ", HumanDuration(now - state.started_at), state.paused ? " (Paused)" : "");
  }
  if (state.status == "removing") return "Removal In Progress";
  if (state.dead) return "Dead";
  if (state.status == "created") return "Created";
  if (state.finished_at == absl::InfinitePast()) return "";
  return absl::StrCat("Exited (", state.exit_code, ") ", since_end, " ago");
}

std::string CommandText(const std::vector<std::string>& argv) {
  std::string text;
  for (size_t i = 0; i < argv.size(); ++i) {
    if (i > 0) text += ' ';
    const bool quote = i > 0 && argv[i].find(' ') != std::string::npos;
    text += quote ? "'" + argv[i] + "'" : argv[i];
  }
  return text;
}

}  // namespace stasis::engine
