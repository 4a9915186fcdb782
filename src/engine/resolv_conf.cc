#include "engine/resolv_conf.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "linux/files.h"

namespace stasis::engine {
namespace {

constexpr char kDefaultServers[] = "nameserver 8.8.8.8\nnameserver 8.8.4.4\n";

using Words = std::vector<std::string>;

bool IsLoopback(const std::string& server) {
  return server.starts_with("127.") || server == "::1" || server.starts_with("::1%");
}

Words SplitWords(const std::string& line) {
  return absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
}

bool IsServerAtLoopback(const std::string& line) {
  const Words words = SplitWords(line);
  return words.size() >= 2 && words[0] == "nameserver" && IsLoopback(words[1]);
}

// "search a b", or nothing.
std::string SearchLine(const Words& domains) {
  const bool none = domains.size() == 1 && domains[0] == ".";
  return none ? "" : "search " + absl::StrJoin(domains, " ") + "\n";
}

}  // namespace

std::string MakeResolvConf(const std::string& host, const backend::HostConfig& wanted, bool own_network) {
  std::string text, servers;
  if (!wanted.dns_search.empty()) text += SearchLine(wanted.dns_search);
  for (const std::string& server : wanted.dns) servers += "nameserver " + server + "\n";
  const Words lines = absl::StrSplit(host, '\n');
  for (const std::string& line : lines) {
    const Words words = SplitWords(line);
    if (words.empty()) continue;
    const std::string& kind = words[0];
    if (kind == "nameserver") {
      if (wanted.dns.empty() && !(own_network && IsServerAtLoopback(line))) servers += line + "\n";
    } else if (kind == "search" || kind == "domain") {
      if (wanted.dns_search.empty()) text += line + "\n";
    } else if (kind != "options" || wanted.dns_options.empty()) {
      text += line + "\n";
    }
  }
  if (servers.empty() && own_network) servers = kDefaultServers;
  text += servers;
  if (!wanted.dns_options.empty()) text += "options " + absl::StrJoin(wanted.dns_options, " ") + "\n";
  return text;
}

std::string ReadHostResolvConf(bool own_network) {
  std::string host = ReadFile("/etc/resolv.conf").value_or(std::string());
  if (!own_network) return host;
  const Words lines = absl::StrSplit(host, '\n');
  const auto is_stub = [](const std::string& line) {
    const Words words = SplitWords(line);
    return words.size() >= 2 && words[0] == "nameserver" && words[1] == "127.0.0.53";
  };
  if (std::none_of(lines.begin(), lines.end(), is_stub)) return host;
  return ReadFile("/run/systemd/resolve/resolv.conf").value_or(std::move(host));
}

}  // namespace stasis::engine
