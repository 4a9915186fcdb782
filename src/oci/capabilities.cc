#include "oci/capabilities.h"

#include <algorithm>
#include <set>

namespace stasis::oci {
namespace {

constexpr char kAll[] = "ALL";

StatusOr<std::set<std::string>> Normalize(const std::vector<std::string>& names, std::string_view field) {
  std::set<std::string> out;
  for (const std::string& raw : names) {
    StatusOr<std::string> name = NormalizeCapability(raw);
    if (!name.ok()) return Annotate(name.status(), "invalid " + std::string(field));
    out.insert(*std::move(name));
  }
  return out;
}

}  // namespace

const std::vector<std::string>& AllCapabilities() {
  static const std::vector<std::string> all = {"CAP_CHOWN",
                                               "CAP_DAC_OVERRIDE",
                                               "CAP_DAC_READ_SEARCH",
                                               "CAP_FOWNER",
                                               "CAP_FSETID",
                                               "CAP_KILL",
                                               "CAP_SETGID",
                                               "CAP_SETUID",
                                               "CAP_SETPCAP",
                                               "CAP_LINUX_IMMUTABLE",
                                               "CAP_NET_BIND_SERVICE",
                                               "CAP_NET_BROADCAST",
                                               "CAP_NET_ADMIN",
                                               "CAP_NET_RAW",
                                               "CAP_IPC_LOCK",
                                               "CAP_IPC_OWNER",
                                               "CAP_SYS_MODULE",
                                               "CAP_SYS_RAWIO",
                                               "CAP_SYS_CHROOT",
                                               "CAP_SYS_PTRACE",
                                               "CAP_SYS_PACCT",
                                               "CAP_SYS_ADMIN",
                                               "CAP_SYS_BOOT",
                                               "CAP_SYS_NICE",
                                               "CAP_SYS_RESOURCE",
                                               "CAP_SYS_TIME",
                                               "CAP_SYS_TTY_CONFIG",
                                               "CAP_MKNOD",
                                               "CAP_LEASE",
                                               "CAP_AUDIT_WRITE",
                                               "CAP_AUDIT_CONTROL",
                                               "CAP_SETFCAP",
                                               "CAP_MAC_OVERRIDE",
                                               "CAP_MAC_ADMIN",
                                               "CAP_SYSLOG",
                                               "CAP_WAKE_ALARM",
                                               "CAP_BLOCK_SUSPEND",
                                               "CAP_AUDIT_READ",
                                               "CAP_PERFMON",
                                               "CAP_BPF",
                                               "CAP_CHECKPOINT_RESTORE"};
  return all;
}

const std::vector<std::string>& DefaultCapabilities() {
  static const std::vector<std::string> defaults = {
      "CAP_CHOWN",      "CAP_DAC_OVERRIDE", "CAP_FOWNER",      "CAP_FSETID",           "CAP_KILL",
      "CAP_SETGID",     "CAP_SETUID",       "CAP_SETPCAP",     "CAP_NET_BIND_SERVICE", "CAP_NET_RAW",
      "CAP_SYS_CHROOT", "CAP_MKNOD",        "CAP_AUDIT_WRITE", "CAP_SETFCAP"};
  return defaults;
}

std::vector<std::string> CapabilitiesFromMask(uint64_t mask) {
  std::vector<std::string> names;
  const std::vector<std::string>& all = AllCapabilities();
  for (size_t bit = 0; bit < all.size(); ++bit) {
    if (mask >> bit & 1) names.push_back(all[bit]);
  }
  return names;
}

StatusOr<std::string> NormalizeCapability(std::string_view raw) {
  std::string name(raw);
  for (char& c : name) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  if (name == kAll) return name;
  if (!name.starts_with("CAP_")) name = "CAP_" + name;
  const std::vector<std::string>& all = AllCapabilities();
  if (std::find(all.begin(), all.end(), name) == all.end()) {
    return InvalidArgument("unknown capability: \"" + name + "\"");
  }
  return name;
}

StatusOr<std::vector<std::string>> ContainerCapabilities(const std::vector<std::string>& add,
                                                         const std::vector<std::string>& drop,
                                                         bool privileged,
                                                         const std::vector<std::string>& available) {
  STASIS_ASSIGN_OR_RETURN(std::set<std::string> added, Normalize(add, "CapAdd"));
  STASIS_ASSIGN_OR_RETURN(std::set<std::string> dropped, Normalize(drop, "CapDrop"));
  const std::vector<std::string>& defaults = DefaultCapabilities();
  std::vector<std::string> out;
  for (const std::string& name : AllCapabilities()) {
    if (std::find(available.begin(), available.end(), name) == available.end()) continue;
    bool is_default = std::find(defaults.begin(), defaults.end(), name) != defaults.end();
    bool kept = added.contains(kAll) || (is_default && !dropped.contains(kAll));
    bool given =
        privileged || (kept && !dropped.contains(name)) || (added.contains(name) && !added.contains(kAll));
    if (given) out.push_back(name);
  }
  return out;
}

}  // namespace stasis::oci
