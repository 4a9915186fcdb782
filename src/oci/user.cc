#include "oci/user.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <unordered_set>

#include "base/log.h"

namespace stasis::oci {
namespace {

constexpr uint32_t kMaxId = INT32_MAX;  // what Docker accepts
constexpr size_t kMaxGroups = 65536;    // NGROUPS_MAX: setgroups(2) takes no more

struct PasswdEntry {
  std::string_view name;
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::string_view home;
};

struct GroupEntry {
  std::string_view name;
  uint32_t gid = 0;
  std::vector<std::string_view> members;
};

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == text.npos) return parts;
    text.remove_prefix(at + 1);
  }
}

std::optional<uint64_t> ParseNumber(std::string_view text) {
  uint64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<uint32_t> ParseId(std::string_view text) {
  std::optional<uint64_t> number = ParseNumber(text);
  if (!number || *number > UINT32_MAX - 1) return std::nullopt;  // -1 means "no change" to chown(2)
  return static_cast<uint32_t>(*number);
}

std::vector<PasswdEntry> ParsePasswd(std::string_view text) {
  std::vector<PasswdEntry> entries;
  for (std::string_view line : Split(text, '\n')) {
    std::vector<std::string_view> fields = Split(line, ':');
    if (fields.size() < 4 || fields[0].empty() || fields[0].front() == '#') continue;
    std::optional<uint32_t> uid = ParseId(fields[2]), gid = ParseId(fields[3]);
    if (!uid || !gid) continue;
    entries.push_back({fields[0], *uid, *gid, fields.size() > 5 ? fields[5] : std::string_view()});
  }
  return entries;
}

std::vector<GroupEntry> ParseGroup(std::string_view text) {
  std::vector<GroupEntry> entries;
  for (std::string_view line : Split(text, '\n')) {
    std::vector<std::string_view> fields = Split(line, ':');
    if (fields.size() < 3 || fields[0].empty() || fields[0].front() == '#') continue;
    std::optional<uint32_t> gid = ParseId(fields[2]);
    if (!gid) continue;
    GroupEntry entry = {fields[0], *gid, {}};
    if (fields.size() > 3) entry.members = Split(fields[3], ',');
    entries.push_back(std::move(entry));
  }
  return entries;
}

// "-1", which Docker takes for a number, and not for a name.
bool IsNegativeNumber(std::string_view text) {
  return text.size() > 1 && text[0] == '-' && ParseNumber(text.substr(1)).has_value();
}

Status IdOutOfRange() { return InvalidArgument("uids and gids must be in range 0-2147483647"); }

StatusOr<uint32_t> FindGroup(std::string_view spec, const std::vector<GroupEntry>& groups) {
  std::optional<uint64_t> number = ParseNumber(spec);
  for (const GroupEntry& entry : groups) {
    if (number ? entry.gid == *number : entry.name == spec) return entry.gid;
  }
  if (IsNegativeNumber(spec)) return IdOutOfRange();
  if (!number) {
    return InvalidArgument("unable to find group " + Printable(spec) + ": no matching entries in group file");
  }
  if (*number > kMaxId) return IdOutOfRange();
  return static_cast<uint32_t>(*number);
}

}  // namespace

StatusOr<User> ResolveUser(std::string_view spec, std::string_view passwd, std::string_view group) {
  std::string_view user_part = spec.substr(0, spec.find(':'));
  std::string_view group_part = user_part.size() < spec.size() ? spec.substr(user_part.size() + 1) : "";
  if (user_part.empty()) user_part = "0";
  User user;
  std::optional<uint64_t> number = ParseNumber(user_part);
  std::string_view name;
  std::vector<PasswdEntry> entries = ParsePasswd(passwd);
  auto found = std::find_if(entries.begin(), entries.end(), [&](const PasswdEntry& entry) {
    return number ? entry.uid == *number : entry.name == user_part;
  });
  if (found != entries.end()) {
    name = found->name;
    user.uid = found->uid;
    user.gid = found->gid;
    if (!found->home.empty()) user.home = std::string(found->home);
  } else if (IsNegativeNumber(user_part)) {
    return IdOutOfRange();
  } else if (!number) {
    return InvalidArgument("unable to find user " + Printable(user_part) +
                           ": no matching entries in passwd file");
  } else if (*number > kMaxId) {
    return IdOutOfRange();
  } else {
    user.uid = static_cast<uint32_t>(*number);
  }

  std::vector<GroupEntry> groups = ParseGroup(group);
  if (!group_part.empty()) {
    STASIS_ASSIGN_OR_RETURN(user.gid, FindGroup(group_part, groups));
  }
  user.additional_gids.push_back(user.gid);
  if (!group_part.empty() || name.empty()) return user;
  std::unordered_set<uint32_t> seen = {user.gid};
  for (const GroupEntry& entry : groups) {
    if (std::find(entry.members.begin(), entry.members.end(), name) == entry.members.end()) continue;
    if (!seen.insert(entry.gid).second) continue;
    if (seen.size() > kMaxGroups) return InvalidArgument("user " + Printable(name) + ": too many groups");
    user.additional_gids.push_back(entry.gid);
  }
  return user;
}

StatusOr<uint32_t> ResolveGroup(std::string_view spec, std::string_view group) {
  return FindGroup(spec, ParseGroup(group));
}

}  // namespace stasis::oci
