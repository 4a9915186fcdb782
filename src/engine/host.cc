#include "engine/host.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "linux/cgroup.h"
#include "linux/files.h"
#include "oci/capabilities.h"

namespace stasis::engine {
namespace {

struct NamedLimit {
  const char* name;
  __rlimit_resource resource;
};
constexpr std::array<NamedLimit, 16> kLimits = {{{"RLIMIT_CPU", RLIMIT_CPU},
                                                 {"RLIMIT_FSIZE", RLIMIT_FSIZE},
                                                 {"RLIMIT_DATA", RLIMIT_DATA},
                                                 {"RLIMIT_STACK", RLIMIT_STACK},
                                                 {"RLIMIT_CORE", RLIMIT_CORE},
                                                 {"RLIMIT_RSS", RLIMIT_RSS},
                                                 {"RLIMIT_NPROC", RLIMIT_NPROC},
                                                 {"RLIMIT_NOFILE", RLIMIT_NOFILE},
                                                 {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},
                                                 {"RLIMIT_AS", RLIMIT_AS},
                                                 {"RLIMIT_LOCKS", RLIMIT_LOCKS},
                                                 {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
                                                 {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE},
                                                 {"RLIMIT_NICE", RLIMIT_NICE},
                                                 {"RLIMIT_RTPRIO", RLIMIT_RTPRIO},
                                                 {"RLIMIT_RTTIME", RLIMIT_RTTIME}}};

StatusOr<uint64_t> BoundingMask() {
  STASIS_ASSIGN_OR_RETURN(const std::string status, ReadFile("/proc/self/status"));
  const std::vector<std::string> lines = absl::StrSplit(status, '\n');
  for (const std::string& line : lines) {
    if (line.rfind("CapBnd:", 0) != 0) continue;
    const std::string digits = line.substr(line.find_first_not_of(" \t", 7));
    return std::stoull(digits, nullptr, 16);  // the kernel's own text, always 16 hex digits
  }
  return Internal("/proc/self/status: no CapBnd");
}

// What a root without CAP_SYS_RESOURCE cannot exceed.
Status ReadOwnLimits(oci::HostLimits* limits) {
  const auto& held = limits->capabilities;
  if (std::find(held.begin(), held.end(), "CAP_SYS_RESOURCE") != held.end()) return {};
  for (const NamedLimit& limit : kLimits) {
    rlimit value{};
    if (::getrlimit(limit.resource, &value) != 0) return ErrnoError(errno, limit.name);
    limits->rlimits[limit.name] = value.rlim_max;
  }
  STASIS_ASSIGN_OR_RETURN(const std::string text, ReadFile("/proc/self/oom_score_adj"));
  int score = 0;
  if (absl::SimpleAtoi(text, &score)) limits->lowest_oom_score_adj = score;
  return {};
}

// The processors and memory nodes of the hierarchy's root.
std::string ReadCpuset(bool cgroup_v2, const std::string& kind) {
  const std::string path =
      cgroup_v2 ? "/sys/fs/cgroup/cpuset." + kind + ".effective" : "/sys/fs/cgroup/cpuset/cpuset." + kind;
  return std::string(absl::StripAsciiWhitespace(ReadFile(path).value_or(std::string())));
}

}  // namespace

std::string OperatingSystemName(const std::string& os_release) {
  const std::vector<std::string> lines = absl::StrSplit(os_release, '\n');
  for (const std::string& line : lines) {
    if (line.rfind("PRETTY_NAME=", 0) != 0) continue;
    std::string name = line.substr(12);
    if (name.size() >= 2 && name.front() == '"' && name.back() == '"') name = name.substr(1, name.size() - 2);
    return name;
  }
  return "Linux";
}

StatusOr<Host> ReadHost() {
  Host host;
  STASIS_ASSIGN_OR_RETURN(const uint64_t mask, BoundingMask());
  host.limits.capabilities = oci::CapabilitiesFromMask(mask);
  STASIS_RETURN_IF_ERROR(ReadOwnLimits(&host.limits));
  STASIS_ASSIGN_OR_RETURN(const CgroupLayout layout, DetectCgroupLayout());
  host.cgroup_v2 = layout == CgroupLayout::kV2;
  utsname names{};
  if (::uname(&names) != 0) return ErrnoError(errno, "uname");
  host.kernel = names.release;
  host.architecture = names.machine;
  host.name = names.nodename;
  std::sscanf(names.release, "%d.%d", &host.limits.kernel_major, &host.limits.kernel_minor);
  host.cpus = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  host.cpuset_cpus = ReadCpuset(host.cgroup_v2, "cpus");
  host.cpuset_mems = ReadCpuset(host.cgroup_v2, "mems");
  struct sysinfo info {};
  if (::sysinfo(&info) == 0) host.memory = static_cast<int64_t>(info.totalram) * info.mem_unit;
  const StatusOr<std::string> release = ReadFile("/etc/os-release");
  host.operating_system = OperatingSystemName(release.ok() ? *release : "");
  return host;
}

}  // namespace stasis::engine
