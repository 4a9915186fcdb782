// A bundle for the real runc: a root file system of Debian's busybox-static; for tests.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "linux/files.h"

namespace stasis::supervisor {

inline constexpr char kBusybox[] = "/bin/busybox";

// Why this machine can't run a real container, or nothing. `programs`: paths that must be there.
inline std::optional<std::string> WhyNoContainers(const std::vector<std::string>& programs) {
  if (::geteuid() != 0) return "needs root";
  for (const std::string& program : programs) {
    if (::access(program.c_str(), X_OK) != 0) return "there is no " + program;
  }
  if (::access(kBusybox, X_OK) != 0) return "there is no " + std::string(kBusybox);
  return std::nullopt;
}

// Makes DIRECTORY/{config.json,rootfs}, which runs `args`, without a network.
inline Status MakeBusyboxBundle(const std::string& directory, const std::string& id,
                                const std::vector<std::string>& args, bool terminal = false) {
  const std::string root = directory + "/rootfs";
  for (const char* name : {"bin", "proc", "dev", "tmp", "sys"}) {
    STASIS_RETURN_IF_ERROR(MakeDirectories(root + "/" + name, 0755));
  }
  STASIS_ASSIGN_OR_RETURN(std::string busybox, ReadFile(kBusybox));
  STASIS_RETURN_IF_ERROR(WriteFileAtomically(root + "/bin/busybox", busybox, 0755));
  for (const char* name : {"sh", "sleep", "cat", "echo", "true"}) {
    if (::symlink("busybox", (root + "/bin/" + name).c_str()) != 0 && errno != EEXIST) {
      return ErrnoError(errno, "symlink");
    }
  }
  const Json capabilities = {"CAP_KILL", "CAP_CHOWN"};
  Json spec = {{"ociVersion", "1.0.2"},
               {"root", {{"path", "rootfs"}}},
               {"process",
                {{"terminal", terminal},
                 {"user", {{"uid", 0}, {"gid", 0}}},
                 {"args", args},
                 {"env", {"PATH=/bin"}},
                 {"cwd", "/"},
                 {"capabilities",
                  {{"bounding", capabilities}, {"effective", capabilities}, {"permitted", capabilities}}}}},
               {"mounts",
                {{{"destination", "/proc"}, {"type", "proc"}, {"source", "proc"}},
                 {{"destination", "/dev"},
                  {"type", "tmpfs"},
                  {"source", "tmpfs"},
                  {"options", {"nosuid", "mode=755", "size=65536k"}}},
                 {{"destination", "/dev/pts"},
                  {"type", "devpts"},
                  {"source", "devpts"},
                  {"options", {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}}}}},
               {"linux",
                {{"cgroupsPath", "/stasis-test-" + id},
                 {"namespaces",
                  {{{"type", "pid"}},
                   {{"type", "mount"}},
                   {{"type", "ipc"}},
                   {{"type", "uts"}},
                   {{"type", "network"}}}}}}};
  return WriteFileAtomically(directory + "/config.json", DumpJson(spec));
}

}  // namespace stasis::supervisor
