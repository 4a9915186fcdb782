// Builds the config.json of a runtime-spec bundle (github.com/opencontainers/runtime-spec, config.md and
// config-linux.md) as Docker builds it. Pure functions: what they need to know of the machine is handed in.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace stasis::oci {

// What the engine itself may give away, and what the kernel is. Read once by the caller.
struct HostLimits {
  std::vector<std::string> capabilities;    // CapBnd of /proc/self/status: CapabilitiesFromMask
  std::map<std::string, uint64_t> rlimits;  // hard limits a container cannot exceed, "RLIMIT_NOFILE" ->
                                            // value; empty when the engine has CAP_SYS_RESOURCE
  std::optional<int> lowest_oom_score_adj;  // the engine's own, when it lacks CAP_SYS_RESOURCE
  int kernel_major = 0;
  int kernel_minor = 0;
};

// A resource limit; `type` is "RLIMIT_NOFILE" or Docker's "nofile".
struct Rlimit {
  std::string type;
  uint64_t soft = 0;
  uint64_t hard = 0;
};

enum class SeccompMode { kDefault, kUnconfined, kCustom };

// One process: the container's first one, or an exec.
struct ProcessOptions {
  std::vector<std::string> args;  // not empty
  std::vector<std::string> env;   // "NAME=value", see ContainerEnvironment
  std::string cwd = "/";          // absolute
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> additional_gids;
  bool terminal = false;
  uint32_t console_height = 0;  // 0: not said
  uint32_t console_width = 0;
  // A process whose uid is not 0 gets these as its bounding set only, as after execve(2).
  std::vector<std::string> cap_add;
  std::vector<std::string> cap_drop;
  bool privileged = false;
  bool no_new_privileges = false;
  std::vector<Rlimit> rlimits;  // clamped to HostLimits::rlimits
  int oom_score_adj = 0;        // -1000..1000, raised to HostLimits::lowest_oom_score_adj
};

struct MountOptions {
  std::string source;
  std::string destination;           // absolute
  std::string type;                  // "bind", "tmpfs", ...
  std::vector<std::string> options;  // "rbind", "ro", "rprivate", "size=..."
};

struct DeviceOptions {
  std::string path;  // in the container, absolute
  char type = 'c';   // 'c' or 'b'
  int64_t major = 0;
  int64_t minor = 0;
  uint32_t file_mode = 0666;
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::string access = "rwm";
};

// A namespace of the container's own, the host's, or the one that is at `path`.
struct NamespaceOptions {
  enum class Kind { kPrivate, kHost, kPath };
  Kind kind = Kind::kPrivate;
  std::string path;
};

// In the units of the Engine API's HostConfig; 0 or empty is "not said".
struct ResourceOptions {
  int64_t memory = 0;              // bytes
  int64_t memory_swap = 0;         // bytes, memory included; -1 unlimited; 0 with `memory`: twice the memory
  int64_t memory_reservation = 0;  // bytes
  int64_t nano_cpus = 0;           // 10^-9 CPUs; not together with cpu_period or cpu_quota
  uint64_t cpu_shares = 0;
  uint64_t cpu_period = 0;  // microseconds
  int64_t cpu_quota = 0;    // microseconds
  std::string cpuset_cpus;
  std::string cpuset_mems;
  int64_t pids_limit = 0;     // -1: unlimited
  uint16_t blkio_weight = 0;  // 10..1000
  bool oom_kill_disable = false;
  std::optional<uint64_t> memory_swappiness;  // 0 to 100; cgroup v1
};

struct SpecOptions {
  std::string root_path;  // absolute
  bool readonly_root = false;
  ProcessOptions process;

  std::string hostname;
  std::string domainname;

  SeccompMode seccomp = SeccompMode::kDefault;  // privileged: none, unless kCustom
  Json seccomp_profile;                         // kCustom: in Docker's form

  // In this order, behind the default ones. One whose destination is that of a default mount takes its place.
  std::vector<MountOptions> mounts;
  int64_t shm_size = 64 << 20;  // bytes of /dev/shm
  bool no_shm = false;          // no /dev/shm at all

  NamespaceOptions network;
  NamespaceOptions pid;
  NamespaceOptions ipc;
  NamespaceOptions uts;
  // With the host's IPC namespace: bind the host's /dev/mqueue, rather than mount its queues anew. CRIU
  // leaves the queues alone then, and refuses them else.
  bool bind_mqueue = false;
  NamespaceOptions cgroup = {NamespaceOptions::Kind::kHost, ""};  // Docker: private on v2, host on v1

  ResourceOptions resources;
  std::vector<DeviceOptions> devices;
  std::map<std::string, std::string> sysctls;
  std::string cgroup_path;
  std::map<std::string, std::string> annotations;

  // Docker's own lists when absent; none when privileged.
  std::optional<std::vector<std::string>> masked_paths;
  std::optional<std::vector<std::string>> readonly_paths;
};

// The whole config.json. kInvalidArgument names the option that is wrong: a relative path, a NUL in a text,
// an unknown capability or rlimit, contradicting CPU limits, a bad seccomp profile.
StatusOr<Json> BuildSpec(const SpecOptions& options, const HostLimits& host);

// The `process` object alone, as `runc exec --process FILE` takes it.
StatusOr<Json> BuildProcess(const ProcessOptions& options, const HostLimits& host);

// Limits as the kernel and the spec call them ("RLIMIT_NOFILE"), clamped to what the host may give away.
// kInvalidArgument: an unknown or repeated name, a soft limit above the hard one.
StatusOr<std::vector<Rlimit>> SettleRlimits(const std::vector<Rlimit>& rlimits, const HostLimits& host);

// PATH, HOSTNAME, TERM=xterm for a terminal, and HOME, each unless `env` has it; then `env`, where a later
// entry of a name replaces an earlier one and "NAME" without "=" takes the name out. `home` may be empty.
std::vector<std::string> ContainerEnvironment(const std::vector<std::string>& env,
                                              const std::string& hostname, bool terminal,
                                              const std::string& home);

}  // namespace stasis::oci
