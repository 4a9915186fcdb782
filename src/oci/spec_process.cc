#include "oci/spec_process.h"

#include <algorithm>
#include <array>
#include <set>
#include <unordered_map>

#include "base/log.h"
#include "oci/capabilities.h"
#include "oci/spec_builder.h"

namespace stasis::oci {
namespace {

constexpr char kDefaultPath[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

StatusOr<std::string> RlimitName(const std::string& raw) {
  static constexpr std::array<std::string_view, 16> kNames = {
      "AS",   "CORE",   "CPU",   "DATA", "FSIZE",  "LOCKS",  "MEMLOCK",    "MSGQUEUE",
      "NICE", "NOFILE", "NPROC", "RSS",  "RTPRIO", "RTTIME", "SIGPENDING", "STACK"};
  std::string name = raw;
  for (char& c : name) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  if (name.starts_with("RLIMIT_")) name.erase(0, 7);
  if (std::find(kNames.begin(), kNames.end(), name) == kNames.end()) {
    return InvalidArgument("invalid ulimit type: " + raw);
  }
  return "RLIMIT_" + name;
}

StatusOr<Json> BuildRlimits(const std::vector<Rlimit>& rlimits, const HostLimits& host) {
  STASIS_ASSIGN_OR_RETURN(const std::vector<Rlimit> settled, SettleRlimits(rlimits, host));
  Json out = Json::array();
  for (const Rlimit& rlimit : settled) {
    out.push_back({{"type", rlimit.type}, {"hard", rlimit.hard}, {"soft", rlimit.soft}});
  }
  return out;
}

StatusOr<Json> BuildCapabilities(const ProcessOptions& options, const HostLimits& host) {
  STASIS_ASSIGN_OR_RETURN(
      std::vector<std::string> names,
      ContainerCapabilities(options.cap_add, options.cap_drop, options.privileged, host.capabilities));
  Json out = {{"bounding", names}};
  if (options.uid == 0) {
    out["effective"] = names;
    out["permitted"] = names;
  }
  return out;
}

Status CheckProcess(const ProcessOptions& options) {
  if (options.args.empty()) return InvalidArgument("no command specified");
  for (const std::string& arg : options.args) STASIS_RETURN_IF_ERROR(CheckText("command", arg));
  for (const std::string& entry : options.env) STASIS_RETURN_IF_ERROR(CheckText("environment", entry));
  STASIS_RETURN_IF_ERROR(CheckPath("working directory", options.cwd));
  if (options.oom_score_adj < -1000 || options.oom_score_adj > 1000) {
    return InvalidArgument("Invalid value " + std::to_string(options.oom_score_adj) +
                           ", range for oom score adj is [-1000, 1000]");
  }
  return absl::OkStatus();
}

}  // namespace

Status CheckText(std::string_view field, const std::string& text) {
  if (text.find('\0') == std::string::npos) return absl::OkStatus();
  return InvalidArgument(std::string(field) + ": a NUL byte in \"" +
                         Printable(text.substr(0, text.find('\0'))) + "\"");
}

Status CheckPath(std::string_view field, const std::string& path) {
  STASIS_RETURN_IF_ERROR(CheckText(field, path));
  if (path.starts_with('/')) return absl::OkStatus();
  return InvalidArgument(std::string(field) + " '" + Printable(path) +
                         "' is invalid: it needs to be an absolute path");
}

StatusOr<std::vector<Rlimit>> SettleRlimits(const std::vector<Rlimit>& rlimits, const HostLimits& host) {
  std::vector<Rlimit> settled;
  std::set<std::string> seen;
  for (const Rlimit& rlimit : rlimits) {
    STASIS_ASSIGN_OR_RETURN(std::string name, RlimitName(rlimit.type));
    if (rlimit.soft > rlimit.hard) {
      return InvalidArgument("ulimit soft limit must be less than or equal to hard limit: " +
                             std::to_string(rlimit.soft) + " > " + std::to_string(rlimit.hard));
    }
    if (!seen.insert(name).second) return InvalidArgument("ulimit given twice: " + rlimit.type);
    uint64_t hard = rlimit.hard;
    if (auto limit = host.rlimits.find(name); limit != host.rlimits.end())
      hard = std::min(hard, limit->second);
    settled.push_back({std::move(name), std::min(rlimit.soft, hard), hard});
  }
  return settled;
}

StatusOr<Json> BuildProcess(const ProcessOptions& options, const HostLimits& host) {
  STASIS_RETURN_IF_ERROR(CheckProcess(options));
  Json user = {{"uid", options.uid}, {"gid", options.gid}};
  if (!options.additional_gids.empty()) user["additionalGids"] = options.additional_gids;
  int oom_score_adj = options.oom_score_adj;
  if (host.lowest_oom_score_adj) oom_score_adj = std::max(oom_score_adj, *host.lowest_oom_score_adj);
  Json process = {{"terminal", options.terminal}, {"user", std::move(user)},
                  {"args", options.args},         {"env", options.env},
                  {"cwd", options.cwd},           {"noNewPrivileges", options.no_new_privileges},
                  {"oomScoreAdj", oom_score_adj}};
  if (options.terminal && options.console_height > 0 && options.console_width > 0) {
    process["consoleSize"] = {{"height", options.console_height}, {"width", options.console_width}};
  }
  STASIS_ASSIGN_OR_RETURN(process["capabilities"], BuildCapabilities(options, host));
  STASIS_ASSIGN_OR_RETURN(Json rlimits, BuildRlimits(options.rlimits, host));
  if (!rlimits.empty()) process["rlimits"] = std::move(rlimits);
  return process;
}

std::vector<std::string> ContainerEnvironment(const std::vector<std::string>& env,
                                              const std::string& hostname, bool terminal,
                                              const std::string& home) {
  std::vector<std::string> out;
  std::unordered_map<std::string, size_t> places;  // of each name in `out`
  const auto set = [&](std::string entry) {
    auto [place, is_new] = places.try_emplace(entry.substr(0, entry.find('=')), out.size());
    if (is_new) out.emplace_back();
    out[place->second] = std::move(entry);
  };
  set(std::string("PATH=") + kDefaultPath);
  if (!hostname.empty()) set("HOSTNAME=" + hostname);
  if (terminal) set("TERM=xterm");
  if (!home.empty()) set("HOME=" + home);
  for (const std::string& entry : env) {
    if (entry.find('=') != std::string::npos) {
      set(entry);
    } else if (auto place = places.find(entry); place != places.end()) {
      out[place->second].clear();
      places.erase(place);
    }
  }
  std::erase(out, std::string());  // those that were taken out
  return out;
}

}  // namespace stasis::oci
