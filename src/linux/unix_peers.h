// The unix sockets of a network namespace, as the kernel lists them (sock_diag(7)).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "linux/unique_fd.h"

namespace stasis {

struct UnixSocketInfo {
  uint32_t inode = 0;  // as in /proc/PID/fd: "socket:[INODE]"
  uint32_t peer = 0;   // inode; 0: none, or nobody has accepted it yet
  int type = 0;        // SOCK_STREAM ...
  std::string name;    // as it was bound; an abstract one begins with a zero byte
};

// Those of the network namespace that `process` is in. They may be connected to ones in others. kNotFound: it
// has ended. The namespace is entered by a thread of its own.
StatusOr<std::vector<UnixSocketInfo>> ListUnixSockets(pid_t process);

// The file that a unix socket is bound to, opened O_PATH, wherever it is by now (SIOCUNIXFILE). `descriptor`
// is `process`'s number of the socket. kNotFound: it is bound to none, or is gone.
StatusOr<UniqueFd> OpenSocketFile(pid_t process, int descriptor);

}  // namespace stasis
