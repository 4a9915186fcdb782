// Namespaces that outlive the process that made them: pinned by a bind mount of /proc/PID/ns/TYPE on a file.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>

#include "base/status.h"
#include "linux/unique_fd.h"

namespace stasis {

// Makes a new network namespace, brings its loopback up and pins it at `path` (a file that is made new). On
// failure nothing is left. The namespace is made in a thread of its own; the caller's is not touched.
Status MakeNetworkNamespace(const std::string& path);
// Unpins: unmounts and removes the file. Not an error when it is gone.
Status RemoveNetworkNamespace(const std::string& path);

// Writes sysctl(8) variables of the network namespace pinned at `path`, from a thread of its own that enters
// it. Names are "net.ipv4.ip_forward" or, where a part has dots itself, "net/ipv4/conf/eth0.1/forwarding".
// kInvalidArgument, naming the variable: it is not one of a network namespace, the kernel has none of that
// name, or does not take the value. Those before it have been written then.
Status WriteNetworkSysctls(const std::string& path, const std::map<std::string, std::string>& sysctls);
// Whether WriteNetworkSysctls writes a variable of this name: "net.*".
bool IsNetworkSysctl(const std::string& name);

// Inode of /proc/PID/ns/TYPE: two processes share the namespace when it is equal.
StatusOr<ino_t> NamespaceInode(pid_t pid, const std::string& type);
// The same of one pinned at `path`; kFailedPrecondition when none is.
StatusOr<ino_t> NamespaceInode(const std::string& path);

}  // namespace stasis
