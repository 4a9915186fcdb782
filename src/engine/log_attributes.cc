#include "engine/log_attributes.h"

#include <map>

#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/hex.h"

namespace stasis::engine {
namespace {

std::string QueryEncode(const std::string& text) {
  return absl::StrReplaceAll(PercentEncode(text), {{"%20", "+"}});
}

std::vector<std::string> NamesIn(const backend::HostConfig& host_config, const std::string& option) {
  const auto found = host_config.log_options.find(option);
  if (found == host_config.log_options.end()) return {};
  return absl::StrSplit(found->second, ',');
}

}  // namespace

std::string LogAttributes(const backend::ContainerConfig& config, const backend::HostConfig& host_config) {
  std::map<std::string, std::string> attributes;
  for (const std::string& name : NamesIn(host_config, "labels")) {
    const auto label = config.labels.find(name);
    if (label != config.labels.end()) attributes[name] = label->second;
  }
  for (const std::string& name : NamesIn(host_config, "env")) {
    for (const std::string& variable : config.env) {
      if (!name.empty() && variable.starts_with(name + "="))
        attributes[name] = variable.substr(name.size() + 1);
    }
  }
  std::vector<std::string> pairs;
  for (const auto& [name, value] : attributes) pairs.push_back(QueryEncode(name) + "=" + QueryEncode(value));
  return absl::StrJoin(pairs, ",") + " ";
}

}  // namespace stasis::engine
