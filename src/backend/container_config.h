// What a container is asked to be: ContainerConfig and HostConfig of the Engine API (definitions
// ContainerConfig and HostConfig of the API document), as far as Stasis has them. ToJson gives Docker's form;
// the engine stores that form.
//
// There are two readers of it, over one list of fields. FromJson reads a request: types and ranges are
// checked, and fields that it does not know are ignored, as Docker does. Decode reads what was accepted once
// (a record, an image's configuration): nothing is refused. A field that cannot be read keeps its default,
// and the reason is appended to `problems`.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"

namespace stasis::backend {

struct ContainerConfig {
  std::string hostname;
  std::string domainname;
  std::string user;
  bool attach_stdin = false;
  bool attach_stdout = false;
  bool attach_stderr = false;
  bool tty = false;
  bool open_stdin = false;
  bool stdin_once = false;
  std::vector<std::string> env;
  std::optional<std::vector<std::string>> cmd;
  std::optional<std::vector<std::string>> entrypoint;
  std::string image;
  std::string working_dir;
  std::map<std::string, std::string> labels;
  std::string stop_signal;
  std::optional<int> stop_timeout;         // seconds
  std::vector<std::string> volumes;        // paths, of the object's keys
  std::vector<std::string> exposed_ports;  // "80/tcp"
  Json kept = Json::object();              // Healthcheck, MacAddress and others that decide nothing, as sent
};
StatusOr<ContainerConfig> ContainerConfigFromJson(const Json& json);
ContainerConfig DecodeContainerConfig(const Json& json, std::vector<Status>* problems);
Json ToJson(const ContainerConfig& config);

struct MountRequest {  // definition Mount
  std::string type;    // "bind", "tmpfs", "volume"
  std::string source;
  std::string target;
  bool read_only = false;
  std::string propagation;               // BindOptions.Propagation
  bool create_source = false;            // BindOptions.CreateMountpoint
  bool non_recursive = false;            // BindOptions.NonRecursive: without what is mounted below the source
  bool read_only_non_recursive = false;  // BindOptions: what is mounted below stays writable
  bool read_only_force_recursive = false;                    // BindOptions: an error where the kernel cannot
  int64_t tmpfs_size = 0;                                    // TmpfsOptions.SizeBytes
  uint32_t tmpfs_mode = 0;                                   // TmpfsOptions.Mode
  std::vector<std::vector<std::string>> tmpfs_options = {};  // TmpfsOptions.Options: [NAME] or [NAME, VALUE]
  std::string consistency = {};                              // of Docker Desktop; decides nothing
};

struct Ulimit {
  std::string name;  // "nofile"
  int64_t soft = 0;
  int64_t hard = 0;
};

struct DeviceRequest {  // definition DeviceMapping
  std::string path_on_host;
  std::string path_in_container;
  std::string permissions;
};

// Of a terminal, in characters; 0: not said.
struct ConsoleSize {
  uint32_t height = 0;
  uint32_t width = 0;
};
// Member "ConsoleSize": [height, width]. Left as it is where there is none, or null.
Status ReadConsoleSize(const JsonReader& reader, ConsoleSize* size);

struct HostConfig {
  std::vector<std::string> binds;
  std::vector<MountRequest> mounts;
  std::map<std::string, std::string> tmpfs;  // path -> options
  int64_t memory = 0;
  int64_t memory_swap = 0;
  int64_t memory_reservation = 0;
  int64_t nano_cpus = 0;
  int64_t cpu_shares = 0;
  int64_t cpu_period = 0;
  int64_t cpu_quota = 0;
  std::string cpuset_cpus;
  std::string cpuset_mems;
  std::optional<int64_t> pids_limit;
  std::optional<int64_t> memory_swappiness;  // 0 to 100; cgroup v1
  std::optional<bool> oom_kill_disable;      // cgroup v1
  int64_t shm_size = 0;
  int oom_score_adj = 0;
  bool readonly_rootfs = false;
  bool privileged = false;
  bool auto_remove = false;
  std::optional<bool> init;
  std::vector<std::string> cap_add;
  std::vector<std::string> cap_drop;
  std::vector<std::string> group_add;
  std::vector<std::string> security_opt;
  std::vector<Ulimit> ulimits;
  std::vector<DeviceRequest> devices;
  std::vector<std::string> dns;
  std::vector<std::string> dns_search;  // {"."}: none at all
  std::vector<std::string> dns_options;
  std::vector<std::string> extra_hosts;
  std::map<std::string, std::string> sysctls;
  std::map<std::string, std::string> annotations;  // of the runtime-spec
  // What /proc and /sys hide and keep from being written. None: the defaults, or nothing when privileged.
  std::optional<std::vector<std::string>> masked_paths;
  std::optional<std::vector<std::string>> readonly_paths;
  std::string network_mode;  // "", "default", "none", "host", "container:NAME", ...
  std::string ipc_mode;
  std::string pid_mode;
  std::string uts_mode;
  std::string cgroup_parent;
  std::string runtime;
  std::string restart_policy;  // "", "no", "always", "on-failure", "unless-stopped"
  int restart_maximum = 0;
  std::string log_driver;  // LogConfig.Type
  std::map<std::string, std::string> log_options;
  ConsoleSize console_size;  // when it starts
  Json port_bindings = Json::object();
  bool publish_all_ports = false;
  Json kept = Json::object();  // ContainerIDFile and others that decide nothing, as sent
};
StatusOr<HostConfig> HostConfigFromJson(const Json& json);
HostConfig DecodeHostConfig(const Json& json, std::vector<Status>* problems);
Json ToJson(const HostConfig& config);

}  // namespace stasis::backend
