#include "cli/create_options.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <climits>
#include <cmath>
#include <cstdlib>
#include <map>
#include <utility>

#include "cli/terminal.h"
#include "cli/units.h"
#include "linux/files.h"

namespace stasis::cli {
namespace {

struct KeyValue {
  std::string key;
  std::optional<std::string> value;
};

KeyValue SplitAt(std::string_view text, char separator) {
  const size_t at = text.find(separator);
  if (at == text.npos) return {std::string(text), std::nullopt};
  return {std::string(text.substr(0, at)), std::string(text.substr(at + 1))};
}

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    const size_t at = text.find(separator);
    parts.emplace_back(text.substr(0, at));
    if (at == text.npos) return parts;
    text.remove_prefix(at + 1);
  }
}

StatusOr<int64_t> ParseInteger(std::string_view text, std::string_view what) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    return InvalidArgument("invalid " + std::string(what) + ": '" + std::string(text) + "': want a number");
  return value;
}

// Docker's: a source that begins with a dot is relative to where the user is.
StatusOr<std::string> AbsoluteBind(const std::string& volume) {
  if (volume.empty() || volume.front() != '.') return volume;
  const KeyValue parts = SplitAt(volume, ':');
  if (!parts.value) return volume;
  char here[PATH_MAX];
  if (::getcwd(here, sizeof here) == nullptr) return ErrnoError(errno, "getcwd");
  return std::string(here) + "/" + parts.key + ":" + *parts.value;
}

Status AddVolumes(const CreateOptions& options, Json& config, Json& host) {
  for (const std::string& volume : options.volumes) {
    if (volume.find(':') == volume.npos) {
      config["Volumes"][volume] = Json::object();
      continue;
    }
    STASIS_ASSIGN_OR_RETURN(std::string bind, AbsoluteBind(volume));
    host["Binds"].push_back(bind);
  }
  for (const std::string& mount : options.mounts) {
    STASIS_ASSIGN_OR_RETURN(Json parsed, ParseMount(mount));
    host["Mounts"].push_back(std::move(parsed));
  }
  for (const std::string& tmpfs : options.tmpfs) {
    const KeyValue parts = SplitAt(tmpfs, ':');
    host["Tmpfs"][parts.key] = parts.value.value_or("");
  }
  return absl::OkStatus();
}

// "[[IP:][HOST]:]CONTAINER[/PROTOCOL]". The daemon judges the ports.
void AddPorts(const CreateOptions& options, Json& config, Json& host) {
  for (const std::string& published : options.publish) {
    std::string container = published, on_host, address;
    if (const size_t colon = container.rfind(':'); colon != container.npos) {
      on_host = container.substr(0, colon);
      container.erase(0, colon + 1);
      if (const size_t before = on_host.rfind(':'); before != on_host.npos) {
        address = on_host.substr(0, before);
        on_host.erase(0, before + 1);
      }
    }
    if (container.find('/') == container.npos) container += "/tcp";
    config["ExposedPorts"][container] = Json::object();
    host["PortBindings"][container].push_back({{"HostIp", address}, {"HostPort", on_host}});
  }
}

Status AddLimits(const CreateOptions& options, Json& host) {
  if (!options.memory.empty()) {
    STASIS_ASSIGN_OR_RETURN(int64_t bytes, ParseBytes(options.memory));
    host["Memory"] = bytes;
  }
  if (!options.cpus.empty()) {
    double cpus = 0;
    const char* end_of_text = options.cpus.data() + options.cpus.size();
    const auto [end, error] = std::from_chars(options.cpus.data(), end_of_text, cpus);
    if (error != std::errc() || end != end_of_text || !(cpus >= 0) || cpus > 1e6)
      return InvalidArgument("invalid value \"" + options.cpus + "\" for --cpus");
    host["NanoCpus"] = static_cast<int64_t>(std::llround(cpus * 1e9));
  }
  if (options.cpu_shares) host["CpuShares"] = *options.cpu_shares;
  if (options.pids_limit) host["PidsLimit"] = *options.pids_limit;
  for (const std::string& ulimit : options.ulimits) {
    const KeyValue parts = SplitAt(ulimit, '=');
    if (!parts.value) return InvalidArgument("invalid ulimit argument: " + ulimit);
    const KeyValue limits = SplitAt(*parts.value, ':');
    STASIS_ASSIGN_OR_RETURN(int64_t soft, ParseInteger(limits.key, "ulimit"));
    int64_t hard = soft;
    if (limits.value) {
      STASIS_ASSIGN_OR_RETURN(hard, ParseInteger(*limits.value, "ulimit"));
    }
    if (hard >= 0 && soft > hard)
      return InvalidArgument("ulimit soft limit must be less than or equal to hard limit");
    host["Ulimits"].push_back({{"Name", parts.key}, {"Soft", soft}, {"Hard", hard}});
  }
  return absl::OkStatus();
}

// A file that the user names, which may be a pipe of the shell's.
StatusOr<std::string> ReadUsersFile(const std::string& path) {
  STASIS_ASSIGN_OR_RETURN(const UniqueFd file, OpenFile(path, O_RDONLY));
  return ReadAll(file.get());
}

// The daemon gets the profile itself, since the file is the client's.
StatusOr<std::string> SecurityOption(const std::string& option) {
  constexpr std::string_view kSeccomp = "seccomp";
  const KeyValue parts = SplitAt(option, option.find('=') != option.npos ? '=' : ':');
  if (parts.key != kSeccomp || !parts.value || *parts.value == "unconfined" || *parts.value == "builtin" ||
      parts.value->substr(0, 1) == "{")
    return option;
  auto profile = ReadUsersFile(*parts.value);
  if (!profile.ok()) return InvalidArgument("opening seccomp profile failed: " + Message(profile.status()));
  auto json = ParseJson(*profile);
  if (!json.ok())
    return InvalidArgument("compacting json for seccomp profile failed: " + Message(json.status()));
  return "seccomp=" + DumpJson(*json);
}

Json Map(const std::vector<std::string>& pairs) {
  Json map = Json::object();
  for (const std::string& pair : pairs) {
    const KeyValue parts = SplitAt(pair, '=');
    map[parts.key] = parts.value.value_or("");
  }
  return map;
}

void AddVariable(const std::string& value, std::vector<std::string>& environment) {
  if (value.find('=') != value.npos) {
    environment.push_back(value);
  } else if (const char* own = std::getenv(value.c_str())) {
    environment.push_back(value + "=" + own);
  }
}

// docker's rules, and its words.
Status AddEnvironmentLine(std::string_view line, std::vector<std::string>& environment) {
  constexpr std::string_view kBlanks = " \t\r\v\f";
  line.remove_prefix(std::min(line.find_first_not_of(kBlanks), line.size()));
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  if (line.empty() || line.front() == '#') return absl::OkStatus();
  const std::string_view name = line.substr(0, line.find('='));
  if (name.empty()) return InvalidArgument("no variable name on line '" + std::string(line) + "'");
  if (name.find_first_of(kBlanks) != name.npos)
    return InvalidArgument("variable '" + std::string(name) + "' contains whitespaces");
  AddVariable(std::string(line), environment);
  return absl::OkStatus();
}

StatusOr<Json> HostConfigBody(const CreateOptions& options, Json& config) {
  Json host = {{"AutoRemove", options.remove},
               {"ReadonlyRootfs", options.read_only},
               {"Privileged", options.privileged},
               {"CapAdd", options.cap_add},
               {"CapDrop", options.cap_drop},
               {"NetworkMode", options.network.empty() ? "default" : options.network},
               {"LogConfig", {{"Type", ""}, {"Config", Map(options.log_opts)}}}};
  if (options.init) host["Init"] = true;
  const auto size = options.tty ? GetWindowSize(STDOUT_FILENO) : std::nullopt;
  if (size) host["ConsoleSize"] = {size->height, size->width};
  for (const std::string& option : options.security_opts) {
    STASIS_ASSIGN_OR_RETURN(std::string resolved, SecurityOption(option));
    host["SecurityOpt"].push_back(resolved);
  }
  STASIS_ASSIGN_OR_RETURN(host["RestartPolicy"], ParseRestartPolicy(options.restart));
  STASIS_RETURN_IF_ERROR(AddVolumes(options, config, host));
  STASIS_RETURN_IF_ERROR(AddLimits(options, host));
  AddPorts(options, config, host);
  return host;
}

}  // namespace

StatusOr<std::vector<std::string>> Environment(const std::vector<std::string>& files,
                                               const std::vector<std::string>& values) {
  std::vector<std::string> environment;
  for (const std::string& path : files) {
    StatusOr<std::string> text = ReadUsersFile(path);
    if (!text.ok()) return InvalidArgument("open " + path + ": " + Message(text.status()));
    for (const std::string& line : Split(*text, '\n')) {
      STASIS_RETURN_IF_ERROR(Annotate(AddEnvironmentLine(line, environment), path));
    }
  }
  for (const std::string& value : values) AddVariable(value, environment);
  return environment;
}

StatusOr<Json> ParseMount(std::string_view text) {
  Json mount = {{"Type", "volume"}};
  for (const std::string& field : Split(text, ',')) {
    const KeyValue parts = SplitAt(field, '=');
    const std::string value = parts.value.value_or("");
    if (parts.key == "type") {
      mount["Type"] = value;
    } else if (parts.key == "source" || parts.key == "src") {
      mount["Source"] = value;
    } else if (parts.key == "target" || parts.key == "dst" || parts.key == "destination") {
      mount["Target"] = value;
    } else if (parts.key == "readonly" || parts.key == "ro") {
      if (parts.value && value != "true" && value != "false" && value != "1" && value != "0")
        return InvalidArgument("invalid value for readonly: " + value);
      mount["ReadOnly"] = !parts.value || value == "true" || value == "1";
    } else if (parts.key == "bind-propagation") {
      mount["BindOptions"]["Propagation"] = value;
    } else if (parts.key == "tmpfs-size") {
      STASIS_ASSIGN_OR_RETURN(mount["TmpfsOptions"]["SizeBytes"], ParseBytes(value));
    } else if (parts.key == "tmpfs-mode") {
      unsigned mode = 0;
      const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), mode, 8);
      if (error != std::errc() || end != value.data() + value.size())
        return InvalidArgument("invalid value for tmpfs-mode: " + value);
      mount["TmpfsOptions"]["Mode"] = mode;
    } else {
      return InvalidArgument("invalid argument \"" + std::string(text) + "\" for --mount: unexpected key '" +
                             parts.key + "' in '" + field + "'");
    }
  }
  if (!mount.contains("Target")) return InvalidArgument("invalid argument for --mount: target is required");
  return mount;
}

StatusOr<Json> ParseRestartPolicy(std::string_view text) {
  const KeyValue parts = SplitAt(text.empty() ? "no" : text, ':');
  int64_t maximum = 0;
  if (parts.value) {
    if (parts.key != "on-failure")
      return InvalidArgument("invalid restart policy: maximum retry count can only be used with on-failure");
    STASIS_ASSIGN_OR_RETURN(maximum, ParseInteger(*parts.value, "restart policy"));
  }
  return Json{{"Name", parts.key}, {"MaximumRetryCount", maximum}};
}

StatusOr<std::string> FiltersParameter(const std::vector<std::string>& filters) {
  if (filters.empty()) return std::string();
  Json json = Json::object();
  for (const std::string& filter : filters) {
    const KeyValue parts = SplitAt(filter, '=');
    if (!parts.value) return InvalidArgument("invalid filter '" + filter + "': want NAME=VALUE");
    json[parts.key].push_back(*parts.value);
  }
  return DumpJson(json);
}

StatusOr<Json> CreateBody(const CreateOptions& options) {
  Json body = {{"Image", options.image},
               {"Tty", options.tty},
               {"OpenStdin", options.interactive},
               {"StdinOnce", options.interactive && !options.detach},
               {"AttachStdin", options.interactive && !options.detach},
               {"AttachStdout", !options.detach},
               {"AttachStderr", !options.detach},
               {"Labels", Map(options.labels)},
               {"Hostname", options.hostname},
               {"User", options.user},
               {"WorkingDir", options.work_dir}};
  STASIS_ASSIGN_OR_RETURN(body["Env"], Environment(options.env_files, options.env));
  if (!options.command.empty()) body["Cmd"] = options.command;
  if (options.entrypoint) body["Entrypoint"] = Json::array({*options.entrypoint});
  if (!options.stop_signal.empty()) body["StopSignal"] = options.stop_signal;
  if (options.stop_timeout) body["StopTimeout"] = *options.stop_timeout;
  STASIS_ASSIGN_OR_RETURN(body["HostConfig"], HostConfigBody(options, body));
  return body;
}

}  // namespace stasis::cli
