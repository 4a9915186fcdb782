#include "linux/namespaces.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "linux/files.h"
#include "linux/inside_root.h"
#include "linux/mounts.h"
#include "linux/proc.h"

namespace stasis {
namespace {

Status BringLoopbackUp() {
  UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return ErrnoError(errno, "socket");
  ifreq request = {};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) return ErrnoError(errno, "bring up lo");
  return absl::OkStatus();
}

// In the thread that becomes the first member of the new namespace.
Status EnterNewNetworkAndPin(const std::string& path) {
  if (::unshare(CLONE_NEWNET) != 0) return ErrnoError(errno, "unshare network");
  STASIS_RETURN_IF_ERROR(BringLoopbackUp());
  return Mount("/proc/thread-self/ns/net", path, "", MS_BIND, "");
}

// "net.ipv4.ip_forward" to "ipv4/ip_forward", below /proc/sys/net. As sysctl(8) reads names: whichever of '.'
// and '/' comes first is the separator, and the other one is part of a name.
std::string SysctlPath(std::string name) {
  if (name.starts_with("net.")) {
    std::transform(name.begin(), name.end(), name.begin(), [](char c) {
      return c == '.' ? '/' : c == '/' ? '.' : c;
    });
  }
  return name.substr(std::strlen("net/"));
}

// In a thread that is in the namespace: /proc/sys/net shows the namespace of the thread that looks.
Status WriteSysctl(int variables, const std::string& name, const std::string& value) {
  if (!IsNetworkSysctl(name)) return InvalidArgument("sysctl " + name + ": not one of a network namespace");
  Status status;
  StatusOr<UniqueFd> file = OpenBeneath(variables, SysctlPath(name), O_WRONLY);
  if (file.ok()) status = WriteAll(file->get(), value);
  if (file.ok() && status.ok()) return status;
  return InvalidArgument("sysctl " + name + "=" + value + ": " + Message(file.ok() ? status : file.status()));
}

Status EnterNetworkAndWrite(const std::string& path, const std::map<std::string, std::string>& sysctls) {
  STASIS_ASSIGN_OR_RETURN(const UniqueFd network, OpenFile(path, O_RDONLY));
  if (::setns(network.get(), CLONE_NEWNET) != 0) return ErrnoError(errno, "setns " + path);
  STASIS_ASSIGN_OR_RETURN(const UniqueFd variables, OpenDirectory("/proc/sys/net"));
  for (const auto& [name, value] : sysctls) {
    STASIS_RETURN_IF_ERROR(WriteSysctl(variables.get(), name, value));
  }
  return absl::OkStatus();
}

StatusOr<ino_t> Inode(const std::string& path) {
  struct stat found;
  if (::stat(path.c_str(), &found) != 0) return ErrnoError(errno, "stat " + path);
  return found.st_ino;
}

}  // namespace

Status MakeNetworkNamespace(const std::string& path) {
  STASIS_RETURN_IF_ERROR(OpenFile(path, O_RDONLY | O_CREAT | O_EXCL, 0444).status());
  Status status;
  std::thread maker([&] { status = EnterNewNetworkAndPin(path); });
  maker.join();
  if (!status.ok()) ::unlink(path.c_str());
  return Annotate(status, "network namespace " + path);
}

Status RemoveNetworkNamespace(const std::string& path) {
  STASIS_RETURN_IF_ERROR(Unmount(path, /*detach=*/true));
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoError(errno, "unlink " + path);
  return absl::OkStatus();
}

Status WriteNetworkSysctls(const std::string& path, const std::map<std::string, std::string>& sysctls) {
  if (sysctls.empty()) return absl::OkStatus();
  Status status;
  std::thread writer([&] { status = EnterNetworkAndWrite(path, sysctls); });
  writer.join();
  return status;
}

bool IsNetworkSysctl(const std::string& name) { return name.starts_with("net.") || name.starts_with("net/"); }

StatusOr<ino_t> NamespaceInode(pid_t pid, const std::string& type) {
  return Inode(ProcPath(pid, "ns/" + type));
}

StatusOr<ino_t> NamespaceInode(const std::string& path) {
  struct statfs found;
  if (::statfs(path.c_str(), &found) != 0) return ErrnoError(errno, "statfs " + path);
  if (found.f_type != NSFS_MAGIC) return FailedPrecondition("no namespace is pinned at " + path);
  return Inode(path);
}

}  // namespace stasis
