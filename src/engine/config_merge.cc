#include "engine/config_merge.h"

#include <unordered_set>

#include "base/log.h"

namespace stasis::engine {
namespace {

template <typename T>
bool Empty(const std::optional<std::vector<T>>& list) {
  return !list || list->empty();
}

std::string VariableName(const std::string& variable) { return variable.substr(0, variable.find('=')); }

void MergeEnv(const std::vector<std::string>& image, std::vector<std::string>* user) {
  std::unordered_set<std::string> own;
  for (const std::string& variable : *user) own.insert(VariableName(variable));
  std::vector<std::string> merged;
  for (const std::string& variable : image) {
    if (variable.empty() || variable[0] == '=') continue;  // what a request is refused for
    if (!own.contains(VariableName(variable))) merged.push_back(variable);
  }
  merged.insert(merged.end(), user->begin(), user->end());
  *user = std::move(merged);
}

void MergeList(const std::vector<std::string>& image, std::vector<std::string>* user) {
  std::unordered_set<std::string> seen(user->begin(), user->end());
  for (const std::string& entry : image) {
    if (seen.insert(entry).second) user->push_back(entry);
  }
}

}  // namespace

void MergeImageConfig(const Json& image_config, backend::ContainerConfig* user) {
  backend::ContainerConfig image;
  if (image_config.is_object()) {
    // The image was accepted when it came: a field that cannot be read is as one that is not there.
    std::vector<Status> problems;
    image = backend::DecodeContainerConfig(image_config, &problems);
    for (const Status& problem : problems) spdlog::warn("an image's configuration: {}", Message(problem));
  }
  if (Empty(user->entrypoint)) {
    if (Empty(user->cmd)) user->cmd = image.cmd;
    // An empty list, unlike none, takes the image's entrypoint away.
    if (!user->entrypoint) user->entrypoint = image.entrypoint;
  }
  if (user->entrypoint && user->entrypoint->size() == 1 && user->entrypoint->front().empty()) {
    user->entrypoint.reset();  // `--entrypoint ""`
  }
  MergeEnv(image.env, &user->env);
  if (user->user.empty()) user->user = image.user;
  if (user->working_dir.empty()) user->working_dir = image.working_dir;
  if (user->stop_signal.empty()) user->stop_signal = image.stop_signal;
  user->labels.insert(image.labels.begin(), image.labels.end());  // the user's own stay
  MergeList(image.volumes, &user->volumes);
  MergeList(image.exposed_ports, &user->exposed_ports);
}

StatusOr<std::vector<std::string>> CommandOf(const backend::ContainerConfig& config) {
  std::vector<std::string> argv = config.entrypoint.value_or(std::vector<std::string>());
  if (config.cmd) argv.insert(argv.end(), config.cmd->begin(), config.cmd->end());
  if (argv.empty()) return InvalidArgument("No command specified");
  return argv;
}

}  // namespace stasis::engine
