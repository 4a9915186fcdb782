#include "engine/validate.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "engine/cpuset.h"
#include "engine/restart_policy.h"
#include "engine/security_options.h"
#include "engine/signals.h"
#include "oci/capabilities.h"
#include "oci/image_config.h"

namespace stasis::engine {
namespace {

constexpr int64_t kMinimumMemory = 6 << 20;
constexpr int64_t kMinimumCpuShares = 2;  // cpu.shares of cgroup v1, which runc checks
constexpr int64_t kMaximumCpuShares = 262144;
constexpr size_t kMaxHostname = 64;  // HOST_NAME_MAX of sethostname(2)
// These options change nothing in the file: attributes of its lines, compression of the rotated ones.
const std::set<std::string> kIgnoredLogOptions = {"labels", "labels-regex", "env", "env-regex",
                                                  "tag",    "compress",     "mode"};
const std::set<std::string> kIgnoredLocalOptions = {"compress", "mode"};

bool IsHostname(const std::string& name) {
  return name.size() <= kMaxHostname && std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return absl::ascii_isalnum(c) || c == '-' || c == '.' || c == '_';
         });
}

// Docker's limits of the parameters; the check itself is not run yet.
Status CheckHealthcheck(const Json& config) {
  const Json* healthcheck = JsonReader(config).Find("Healthcheck");
  if (!healthcheck) return {};
  JsonReader reader(*healthcheck, "Healthcheck");
  std::vector<std::string> test;
  reader.Get("Test", &test);
  for (const char* name : {"Interval", "Timeout", "StartPeriod", "StartInterval"}) {
    int64_t nanoseconds = 0;
    reader.Get(name, &nanoseconds);
    if (nanoseconds != 0 && nanoseconds < 1'000'000)
      return InvalidArgument(absl::StrCat(name, " in Healthcheck cannot be less than 1ms"));
  }
  int retries = 0;
  reader.Get("Retries", &retries);
  if (retries < 0) return InvalidArgument("Retries in Healthcheck cannot be negative");
  return reader.status();
}

Status CheckConfig(const backend::ContainerConfig& config) {
  if (!config.working_dir.empty() && config.working_dir[0] != '/') {
    return InvalidArgument("the working directory '" + Printable(config.working_dir) +
                           "' is invalid, it needs to be an absolute path");
  }
  for (const std::string& variable : config.env) {
    if (variable.empty() || variable[0] == '=') {
      return InvalidArgument("invalid environment variable: " + Printable(variable));
    }
  }
  STASIS_RETURN_IF_ERROR(oci::CheckLabels(config.labels));
  STASIS_RETURN_IF_ERROR(CheckHealthcheck(config.kept));
  if (!IsHostname(config.hostname)) return InvalidArgument("invalid hostname format: " + config.hostname);
  if (config.stop_signal.empty()) return {};
  return ParseSignal(config.stop_signal).status();
}

// Docker's checks of resources, with its words.
Status CheckMemory(const backend::HostConfig& host) {
  if (host.memory != 0 && host.memory < kMinimumMemory) {
    return InvalidArgument("Minimum memory limit allowed is 6MB");
  }
  if (host.memory_swap < -1) {
    return InvalidArgument(absl::StrCat("invalid memory swap limit: ", host.memory_swap));
  }
  if (host.memory_swap > 0 && host.memory == 0) {
    return InvalidArgument("You should always set the Memory limit when using Memoryswap limit, see usage");
  }
  if (host.memory_swap > 0 && host.memory_swap < host.memory) {
    return InvalidArgument("Minimum memoryswap limit should be larger than memory limit, see usage");
  }
  if (host.memory_reservation != 0 && host.memory_reservation < kMinimumMemory) {
    return InvalidArgument("Minimum memory reservation allowed is 6MB");
  }
  if (host.memory > 0 && host.memory < host.memory_reservation) {
    return InvalidArgument("Minimum memory limit can not be less than memory reservation limit, see usage");
  }
  if (host.shm_size < 0) return InvalidArgument("SHM size can not be less than 0");
  if (host.memory_swappiness && (*host.memory_swappiness < 0 || *host.memory_swappiness > 100)) {
    return InvalidArgument(
        absl::StrCat("Invalid value: ", *host.memory_swappiness, ", valid memory swappiness range is 0-100"));
  }
  if (host.oom_score_adj < -1000 || host.oom_score_adj > 1000) {
    return InvalidArgument(
        absl::StrCat("Invalid value ", host.oom_score_adj, ", range for oom score adj is [-1000, 1000]"));
  }
  return {};
}

Status CheckCpu(const backend::HostConfig& host, const Host& machine) {
  const int cpus = machine.cpus;
  if (host.nano_cpus > 0 && (host.cpu_period > 0 || host.cpu_quota > 0)) {
    return InvalidArgument(absl::StrCat("Conflicting options: Nano CPUs and CPU ",
                                        host.cpu_period > 0 ? "Period" : "Quota", " cannot both be set"));
  }
  if (host.nano_cpus < 0 || host.nano_cpus > int64_t{cpus} * 1000000000) {
    return InvalidArgument(absl::StrCat("Range of CPUs is from 0.01 to ", cpus, ".00, as there are only ",
                                        cpus, " CPUs available"));
  }
  if (host.cpu_shares < 0) {
    return InvalidArgument(
        absl::StrCat("invalid CPU shares (", host.cpu_shares, "): value must be a positive integer"));
  }
  if (host.cpu_shares != 0 && host.cpu_shares < kMinimumCpuShares)
    return InvalidArgument(absl::StrCat("The minimum allowed cpu-shares is ", kMinimumCpuShares));
  if (host.cpu_shares > kMaximumCpuShares)
    return InvalidArgument(absl::StrCat("The maximum allowed cpu-shares is ", kMaximumCpuShares));
  if (host.cpu_period != 0 && (host.cpu_period < 1000 || host.cpu_period > 1000000)) {
    return InvalidArgument(
        "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
  }
  if (host.cpu_quota != 0 && host.cpu_quota != -1 && host.cpu_quota < 1000) {
    return InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)");
  }
  STASIS_RETURN_IF_ERROR(CheckCpus(host.cpuset_cpus, machine.cpuset_cpus));
  return CheckMemoryNodes(host.cpuset_mems, machine.cpuset_mems);
}

// What containers can share with the host or with each other.
Status CheckModes(const backend::HostConfig& host) {
  const auto later = [](std::string_view option, const std::string& value) {
    return Unimplemented(absl::StrCat(std::string(option), "=", value, " is not supported yet"));
  };
  const std::string& ipc = host.ipc_mode;
  if (ipc.rfind("container:", 0) == 0) return later("--ipc", ipc);
  if (!ipc.empty() && ipc != "private" && ipc != "shareable" && ipc != "host" && ipc != "none") {
    return InvalidArgument("invalid IPC mode: " + ipc);
  }
  if (host.pid_mode.rfind("container:", 0) == 0) return later("--pid", host.pid_mode);
  if (!host.pid_mode.empty() && host.pid_mode != "host") {
    return InvalidArgument("invalid PID mode: " + host.pid_mode);
  }
  if (!host.uts_mode.empty() && host.uts_mode != "host") {
    return InvalidArgument("invalid UTS mode: " + host.uts_mode);
  }
  if (!host.cgroup_parent.empty()) return later("--cgroup-parent", host.cgroup_parent);
  if (!host.runtime.empty() && host.runtime != "runc" && host.runtime != "io.containerd.runc.v2") {
    return InvalidArgument("unknown or invalid runtime name: " + host.runtime);
  }
  return {};
}

Status CheckPorts(const backend::HostConfig& host) {
  const bool bindings = host.port_bindings.is_object() && !host.port_bindings.empty();
  if (bindings || host.publish_all_ports) {
    return Unimplemented("publishing ports is not supported yet: use --network host, or none");
  }
  return {};
}

Status ReadLogOption(const std::string& name, const std::string& value, LogRotation* rotation) {
  if (name == "max-size") {
    STASIS_ASSIGN_OR_RETURN(rotation->max_size, ParseSize(value));
  } else if (!absl::SimpleAtoi(value, &rotation->max_files) || rotation->max_files < 1) {
    return InvalidArgument("max-file cannot be less than 1");
  }
  return {};
}

}  // namespace

Status ValidateContainer(const backend::ContainerConfig& config, const backend::HostConfig& host,
                         const Host& machine) {
  STASIS_RETURN_IF_ERROR(CheckConfig(config));
  STASIS_RETURN_IF_ERROR(CheckMemory(host));
  STASIS_RETURN_IF_ERROR(CheckCpu(host, machine));
  STASIS_RETURN_IF_ERROR(CheckModes(host));
  STASIS_RETURN_IF_ERROR(CheckPorts(host));
  if (host.annotations.contains("")) {
    return InvalidArgument("invalid Annotations: the empty string is not permitted as an annotation key");
  }
  STASIS_RETURN_IF_ERROR(
      oci::ContainerCapabilities(host.cap_add, host.cap_drop, false, oci::AllCapabilities()).status());
  STASIS_RETURN_IF_ERROR(ParseSecurityOptions(host.security_opt).status());
  STASIS_RETURN_IF_ERROR(CheckRestartPolicy(host.restart_policy, host.restart_maximum, host.auto_remove));
  return ParseLogOptions(host).status();
}

StatusOr<LogRotation> ParseLogOptions(const backend::HostConfig& host) {
  const std::string driver = host.log_driver.empty() ? "json-file" : host.log_driver;
  if (driver != "json-file" && driver != "local" && driver != "none") {
    return InvalidArgument("logger: no log driver named '" + Printable(driver) + "' is registered");
  }
  LogRotation rotation;
  if (driver == "local") rotation = {.max_size = 20 << 20, .max_files = 5};
  for (const auto& [name, value] : host.log_options) {
    if (name == "max-size" || name == "max-file") {
      STASIS_RETURN_IF_ERROR(
          Annotate(ReadLogOption(name, value, &rotation), "failed to initialize logging driver"));
    } else if (!(driver == "local" ? kIgnoredLocalOptions : kIgnoredLogOptions).contains(name)) {
      return InvalidArgument("unknown log opt '" + name + "' for " + driver + " log driver");
    }
  }
  return rotation;
}

StatusOr<uint64_t> ParseSize(const std::string& text) {
  const Status invalid = InvalidArgument("invalid size: '" + text + "'");
  std::string unit = absl::AsciiStrToLower(text);
  const size_t digits = std::min(unit.find_first_not_of("0123456789."), unit.size());
  double number = 0;
  if (digits == 0 || !absl::SimpleAtod(unit.substr(0, digits), &number)) return invalid;
  unit.erase(0, digits);
  if (!unit.empty() && unit[0] == ' ') unit.erase(0, 1);
  constexpr std::string_view kUnits = "bkmgtp";
  size_t power = 0;
  if (!unit.empty()) {
    power = kUnits.find(unit[0]);
    const std::string rest = unit.substr(1);
    if (power == std::string_view::npos || (!rest.empty() && rest != "b" && rest != "ib")) return invalid;
  }
  const double bytes = number * std::pow(1024.0, static_cast<double>(power));
  if (!(bytes >= 0 && bytes < 9e18)) return invalid;
  return static_cast<uint64_t>(bytes);
}

}  // namespace stasis::engine
