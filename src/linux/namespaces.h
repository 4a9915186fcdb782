// Namespaces that outlive the process that made them: pinned by a bind mount of /proc/PID/ns/TYPE on a file.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/status.h"
#include "linux/unique_fd.h"

namespace stasis {

// Makes a new network namespace, brings its loopback up and pins it at `path` (a file that is made new). On
// failure nothing is left. The namespace is made in a thread of its own; the caller's is not touched.
Status MakeNetworkNamespace(const std::string& path);
// Unpins: unmounts and removes the file. Not an error when it is gone.
Status RemoveNetworkNamespace(const std::string& path);

// Inode of /proc/PID/ns/TYPE: two processes share the namespace when it is equal.
StatusOr<ino_t> NamespaceInode(pid_t pid, const std::string& type);
// The same of one pinned at `path`; kFailedPrecondition when none is.
StatusOr<ino_t> NamespaceInode(const std::string& path);

}  // namespace stasis
