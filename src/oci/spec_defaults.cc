#include "oci/spec_defaults.h"

namespace stasis::oci {

std::vector<MountOptions> DefaultMounts(int64_t shm_size) {
  return {
      {"proc", "/proc", "proc", {"nosuid", "noexec", "nodev"}},
      {"tmpfs", "/dev", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}},
      {"devpts",
       "/dev/pts",
       "devpts",
       {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
      {"sysfs", "/sys", "sysfs", {"nosuid", "noexec", "nodev", "ro"}},
      {"cgroup", "/sys/fs/cgroup", "cgroup", {"ro", "nosuid", "noexec", "nodev"}},
      {"mqueue", "/dev/mqueue", "mqueue", {"nosuid", "noexec", "nodev"}},
      {"shm",
       "/dev/shm",
       "tmpfs",
       {"nosuid", "noexec", "nodev", "mode=1777", "size=" + std::to_string(shm_size)}},
  };
}

const std::vector<std::string>& DefaultMaskedPaths() {
  static const std::vector<std::string> paths = {
      "/proc/asound",      "/proc/acpi",          "/proc/interrupts", "/proc/kcore",
      "/proc/keys",        "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
      "/proc/sched_debug", "/proc/scsi",          "/sys/firmware",    "/sys/devices/virtual/powercap"};
  return paths;
}

const std::vector<std::string>& DefaultReadonlyPaths() {
  static const std::vector<std::string> paths = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                                 "/proc/sysrq-trigger"};
  return paths;
}

Json DefaultDeviceRules() {
  Json rules = Json::array();
  rules.push_back({{"allow", false}, {"access", "rwm"}});
  const std::pair<int, int> kAllowed[] = {{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 1}};
  for (auto [major, minor] : kAllowed) {  // null, zero, full, random, urandom, tty, console
    rules.push_back({{"allow", true}, {"type", "c"}, {"major", major}, {"minor", minor}, {"access", "rwm"}});
  }
  rules.push_back(
      {{"allow", false}, {"type", "c"}, {"major", 10}, {"minor", 229}, {"access", "rwm"}});  // fuse
  return rules;
}

}  // namespace stasis::oci
