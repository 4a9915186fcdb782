#include "engine/list_filter.h"

#include <regex.h>
#include <algorithm>
#include <array>

#include "absl/strings/numbers.h"

namespace stasis::engine {
namespace {

constexpr std::array<std::string_view, 17> kFilters = {
    "id",     "name",    "status", "label",  "ancestor",  "exited",  "before", "since", "network",
    "volume", "publish", "expose", "health", "isolation", "is-task", "task",   "exists"};

// POSIX extended regular expressions: matching needs time in proportion to the text, so a hostile filter
// costs little. Docker takes them for names; an expression that is none is compared as text.
bool NameMatches(const std::string& name, const std::string& pattern) {
  regex_t expression;
  if (pattern.size() > 256 || ::regcomp(&expression, pattern.c_str(), REG_EXTENDED | REG_NOSUB) != 0) {
    return name == pattern;
  }
  const bool match = ::regexec(&expression, name.c_str(), 0, nullptr, 0) == 0 ||
                     ::regexec(&expression, ("/" + name).c_str(), 0, nullptr, 0) == 0;
  ::regfree(&expression);
  return match;
}

bool LabelMatches(const ContainerRecord& record, const std::string& label) {
  const size_t equals = label.find('=');
  const auto found = record.config.labels.find(label.substr(0, equals));
  if (found == record.config.labels.end()) return false;
  return equals == std::string::npos || found->second == label.substr(equals + 1);
}

bool AncestorMatches(const ContainerRecord& record, const std::string& value) {
  if (value.empty()) return false;
  const std::string hex = record.image_id.substr(record.image_id.find(':') + 1);
  return record.config.image == value || record.config.image == value + ":latest" ||
         record.config.image + ":latest" == value || record.image_id == value ||
         (value.size() >= 12 && hex.rfind(value, 0) == 0);
}

bool VolumeMatches(const ContainerRecord& record, const std::string& value) {
  return std::any_of(record.mounts.begin(), record.mounts.end(), [&](const ContainerMount& mount) {
    return mount.destination == value || mount.source == value;
  });
}

bool MatchesOne(const ContainerRecord& record, const std::string& filter, const std::string& value,
                const FilterContext& context) {
  if (filter == "id") return record.id.str().rfind(value, 0) == 0;
  if (filter == "name") return NameMatches(record.name, value);
  if (filter == "status") return ToText(record.state.phase) == value;
  if (filter == "label") return LabelMatches(record, value);
  if (filter == "ancestor") return AncestorMatches(record, value);
  if (filter == "exited") {
    return record.state.phase == Phase::kExited && std::to_string(record.state.exit_code) == value;
  }
  if (filter == "before") return record.created < context.created(value);
  if (filter == "since") return record.created > context.created(value);
  if (filter == "volume") return VolumeMatches(record, value);
  if (filter == "health") return value == "none";
  if (filter == "network") {
    const std::string& mode = record.host_config.network_mode;
    return mode == value ||
           ((value == "bridge" || value == "default") && (mode.empty() || mode == "default"));
  }
  if (filter == "is-task") return value == "false" || value == "0";
  return false;
}

}  // namespace

Status CheckListFilters(const backend::Filters& filters) {
  for (const auto& [filter, values] : filters) {
    if (std::find(kFilters.begin(), kFilters.end(), filter) == kFilters.end()) {
      return InvalidArgument("invalid filter '" + filter + "'");
    }
    for (const std::string& value : values) {
      int number = 0;
      if (filter == "status" && !PhaseFromText(value).ok()) {
        return InvalidArgument("invalid filter 'status=" + value + "'");
      }
      if (filter == "exited" && !absl::SimpleAtoi(value, &number)) {
        return InvalidArgument("invalid filter 'exited=" + value + "'");
      }
    }
  }
  return {};
}

bool Matches(const ContainerRecord& record, const backend::Filters& filters, const FilterContext& context) {
  for (const auto& [filter, values] : filters) {
    if (values.empty()) continue;
    const auto matches = [&, &name = filter](const std::string& value) {
      return MatchesOne(record, name, value, context);
    };
    const bool match = filter == "label" ? std::all_of(values.begin(), values.end(), matches)
                                         : std::any_of(values.begin(), values.end(), matches);
    if (!match) return false;
  }
  return true;
}

bool FiltersWantAll(const backend::Filters& filters) {
  return filters.contains("status") || filters.contains("exited");
}

}  // namespace stasis::engine
