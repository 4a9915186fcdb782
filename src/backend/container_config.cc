#include "backend/container_config.h"

#include <utility>

#include "backend/config_json.h"
#include "base/log.h"

namespace stasis::backend {
namespace {

using Type = KeptField::Type;

const std::vector<KeptField>& KeptFields() {
  static const std::vector<KeptField> kFields = {
      {"Healthcheck", Type::kObject},   {"MacAddress", Type::kText},  {"OnBuild", Type::kList, Json()},
      {"NetworkDisabled", Type::kFlag}, {"ArgsEscaped", Type::kFlag}, {"Shell", Type::kList}};
  return kFields;
}

// A command: a list of strings, or one string (Docker's StrSlice).
void GetCommand(const Json& object, std::string_view field, std::optional<std::vector<std::string>>* out,
                Unread& unread) {
  JsonReader reader(object, "Config");
  const Json* value = reader.Find(field);
  if (!value) return;
  std::vector<std::string> words;
  if (value->is_string()) {
    words.push_back(value->get<std::string>());
  } else {
    reader.Get(field, &words);
    if (!reader.status().ok()) return unread.Add(reader.status());
  }
  *out = std::move(words);
}

}  // namespace

ContainerConfig DecodeContainerConfig(const Json& json, std::vector<Status>* problems) {
  Unread unread(problems);
  JsonReader reader(json, "Config");
  ContainerConfig config;
  reader.Get("Hostname", &config.hostname);
  reader.Get("Domainname", &config.domainname);
  reader.Get("User", &config.user);
  reader.Get("AttachStdin", &config.attach_stdin);
  reader.Get("AttachStdout", &config.attach_stdout);
  reader.Get("AttachStderr", &config.attach_stderr);
  reader.Get("Tty", &config.tty);
  reader.Get("OpenStdin", &config.open_stdin);
  reader.Get("StdinOnce", &config.stdin_once);
  reader.Get("Env", &config.env);
  reader.Get("Image", &config.image);
  reader.Get("WorkingDir", &config.working_dir);
  reader.Get("StopSignal", &config.stop_signal);
  GetCommand(json, "Cmd", &config.cmd, unread);
  GetCommand(json, "Entrypoint", &config.entrypoint, unread);
  GetOptional(json, "Config", "StopTimeout", &config.stop_timeout, unread);
  unread.Add(reader.status());
  GetStringMap(reader, "Labels", &config.labels, unread);
  GetKeys(reader, "Volumes", &config.volumes, unread);
  GetKeys(reader, "ExposedPorts", &config.exposed_ports, unread);
  ReadKept(reader, KeptFields(), &config.kept, unread);
  return config;
}

StatusOr<ContainerConfig> ContainerConfigFromJson(const Json& json) {
  std::vector<Status> problems;
  ContainerConfig config = DecodeContainerConfig(json, &problems);
  if (!problems.empty()) return problems.front();
  for (const std::string& entry : config.env) {
    if (entry.empty() || entry[0] == '=')
      return InvalidArgument("invalid environment variable: " + Printable(entry));
    if (entry.find('\0') != std::string::npos) return InvalidArgument("Env: a string holds a NUL byte");
  }
  return config;
}

Json ToJson(const ContainerConfig& config) {
  Json json{{"Hostname", config.hostname},
            {"Domainname", config.domainname},
            {"User", config.user},
            {"AttachStdin", config.attach_stdin},
            {"AttachStdout", config.attach_stdout},
            {"AttachStderr", config.attach_stderr},
            {"Tty", config.tty},
            {"OpenStdin", config.open_stdin},
            {"StdinOnce", config.stdin_once},
            {"Env", config.env},
            {"Cmd", OptionalToJson(config.cmd)},
            {"Image", config.image},
            {"Volumes", config.volumes.empty() ? Json() : KeysToJson(config.volumes)},
            {"WorkingDir", config.working_dir},
            {"Entrypoint", OptionalToJson(config.entrypoint)},
            {"Labels", config.labels}};
  if (!config.stop_signal.empty()) json["StopSignal"] = config.stop_signal;
  if (config.stop_timeout) json["StopTimeout"] = *config.stop_timeout;
  WriteKept(config.kept, KeptFields(), &json);
  if (!config.exposed_ports.empty()) json["ExposedPorts"] = KeysToJson(config.exposed_ports);
  return json;
}

}  // namespace stasis::backend
