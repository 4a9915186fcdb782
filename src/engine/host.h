// What the engine needs to know of the machine it runs on.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "oci/spec_builder.h"

namespace stasis::engine {

struct Host {
  oci::HostLimits limits;
  bool cgroup_v2 = false;
  int cpus = 1;
  std::string cpuset_cpus;  // which those are, "0-1"; empty: not known
  std::string cpuset_mems;  // its memory nodes
  int64_t memory = 0;       // bytes
  std::string name;
  std::string kernel;
  std::string operating_system;
  std::string architecture;
};

// Reads it from /proc, /etc/os-release and uname(2).
StatusOr<Host> ReadHost();

// PRETTY_NAME of an os-release(5) text, or "Linux".
std::string OperatingSystemName(const std::string& os_release);

}  // namespace stasis::engine
