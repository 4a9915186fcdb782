#include "api/route.h"

#include <algorithm>
#include <iomanip>
#include <optional>
#include <set>
#include <utility>

namespace stasis::api {
namespace {

constexpr int kMajor = 1;
constexpr int kNewestMinor = 47;
constexpr int kOldestMinor = 22;

std::vector<std::string> Split(std::string_view path) {
  std::vector<std::string> segments;
  for (size_t at = 1; at <= path.size();) {
    size_t end = std::min(path.find('/', at), path.size());
    segments.emplace_back(path.substr(at, end - at));
    at = end + 1;
  }
  return segments;
}

bool IsName(std::string_view segment) { return segment.starts_with('{') && segment.ends_with('}'); }
bool IsLongName(std::string_view segment) { return IsName(segment) && segment.ends_with("...}"); }

std::string NameIn(std::string_view segment) {
  size_t tail = IsLongName(segment) ? 4 : 1;
  return std::string(segment.substr(1, segment.size() - 1 - tail));
}

struct Version {
  int major = 0;
  int minor = 0;
  std::string text;
};

// "v1.47" -> 1, 47. nullopt: not a version.
std::optional<Version> ParseVersion(std::string_view segment) {
  if (!segment.starts_with('v')) return std::nullopt;
  segment.remove_prefix(1);
  size_t dot = segment.find('.');
  if (dot == segment.npos) return std::nullopt;
  auto number = [](std::string_view digits) -> std::optional<int> {
    if (digits.empty() || digits.size() > 6) return std::nullopt;
    int value = 0;
    for (char c : digits) {
      if (c < '0' || c > '9') return std::nullopt;
      value = value * 10 + (c - '0');
    }
    return value;
  };
  std::optional<int> major = number(segment.substr(0, dot));
  std::optional<int> minor = number(segment.substr(dot + 1));
  if (!major || !minor) return std::nullopt;
  return Version{*major, *minor, std::string(segment)};
}

Status CheckVersion(const Version& version) {
  std::pair<int, int> asked(version.major, version.minor);
  if (asked > std::pair(kMajor, kNewestMinor)) {
    return InvalidArgument("client version " + version.text +
                           " is too new. Maximum supported API version is 1." + std::to_string(kNewestMinor));
  }
  if (asked < std::pair(kMajor, kOldestMinor)) {
    return InvalidArgument("client version " + version.text +
                           " is too old. Minimum supported API version is 1." + std::to_string(kOldestMinor) +
                           ", please upgrade your client to a newer version");
  }
  return absl::OkStatus();
}

using Values = std::vector<std::pair<std::string, std::string>>;

// The values of the pattern's names, escapes as sent; nullopt: no match.
std::optional<Values> MatchSegments(const std::vector<std::string>& pattern,
                                    const std::vector<std::string>& path) {
  if (path.size() < pattern.size()) return std::nullopt;
  size_t spare = path.size() - pattern.size();  // what a long name takes beyond its first segment
  Values values;
  size_t at = 0;
  for (const std::string& segment : pattern) {
    std::string taken = path[at++];
    if (IsLongName(segment)) {
      for (; spare > 0; --spare) taken += "/" + path[at++];
    }
    if (IsName(segment)) {
      if (taken.empty()) return std::nullopt;
      values.emplace_back(NameIn(segment), taken);
    } else if (segment != taken) {
      return std::nullopt;
    }
  }
  if (spare > 0) return std::nullopt;
  return values;
}

Status CheckPattern(const std::string& pattern, const std::vector<std::string>& segments) {
  auto malformed = [&] { return InvalidArgument("malformed route pattern " + pattern); };
  if (!pattern.starts_with('/')) return malformed();
  if (std::count_if(segments.begin(), segments.end(), IsLongName) > 1) return malformed();
  for (const std::string& segment : segments) {
    const bool trailing_slash = &segment == &segments.back() && segments.size() > 1;
    if ((segment.empty() && !trailing_slash) || (segment.find('{') != segment.npos && !IsName(segment)))
      return malformed();
  }
  return absl::OkStatus();
}

}  // namespace

void PrintRoutes(const std::vector<Route>& routes, std::ostream& out) {
  size_t pattern_width = 0;
  size_t group_width = 0;
  for (const Route& route : routes) {
    pattern_width = std::max(pattern_width, route.pattern.size());
    group_width = std::max(group_width, route.group.size());
  }
  for (const Route& route : routes) {
    out << std::left << std::setw(8) << route.method << std::setw(static_cast<int>(pattern_width) + 2)
        << route.pattern << std::setw(static_cast<int>(group_width) + 2) << route.group << route.description
        << "\n";
  }
}

StatusOr<RouteTable> RouteTable::Create(std::vector<Route> routes) {
  std::vector<Entry> entries;
  std::set<std::string> seen;
  for (Route& route : routes) {
    Entry entry{std::move(route), {}, 0};
    entry.segments = Split(entry.route.pattern);
    STASIS_RETURN_IF_ERROR(CheckPattern(entry.route.pattern, entry.segments));
    if (!seen.insert(entry.route.method + " " + entry.route.pattern).second) {
      return InvalidArgument("two routes " + entry.route.method + " " + entry.route.pattern);
    }
    entry.names = static_cast<int>(std::count_if(entry.segments.begin(), entry.segments.end(), IsName));
    entries.push_back(std::move(entry));
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.names < b.names; });
  return RouteTable(std::move(entries));
}

StatusOr<RouteTable::Match> RouteTable::Find(Request& request) const {
  std::vector<std::string> segments = Split(request.path);
  std::optional<Version> version;
  if (!segments.empty()) version = ParseVersion(segments.front());
  if (version) {
    request.path.erase(0, 1 + segments.front().size());
    segments.erase(segments.begin());
  }

  Match match;
  for (const Entry& entry : entries_) {
    std::optional<Values> values = MatchSegments(entry.segments, segments);
    if (!values) continue;
    if (entry.route.method != request.method) {
      match.allowed += (match.allowed.empty() ? "" : ", ") + entry.route.method;
      continue;
    }
    if (version) {
      STASIS_RETURN_IF_ERROR(CheckVersion(*version));
      request.minor_version = version->minor;
    }
    for (auto& [name, raw] : *values) {
      STASIS_ASSIGN_OR_RETURN(request.values[name], PercentDecode(raw, /*plus_is_space=*/false));
    }
    match.route = &entry.route;
    return match;
  }
  if (match.allowed.empty()) return NotFound("page not found");
  return match;
}

}  // namespace stasis::api
