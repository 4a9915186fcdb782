// Names in CRIU's images under which a restore would not find, or could not make again, what they name. They
// are put right once a dump is complete, while the container still stands still:
//
// - A unix socket whose file has got another name since it was bound (preload/sockets.c notes it) is bound to
// the
//   present one. The program is then told that name, too (getsockname(2)).
// - A removed file or directory that a process still holds, and a removed unix socket, are made again for a
//   moment at their old name. Where a directory of that name has become a link or a file since, or another
//   directory has the name by now, it is a name beside.
// - A datagram socket that is connected to one outside the container is connected to that one's path again.
#pragma once

#include <sys/un.h>

#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "base/status.h"
#include "criu/processes.h"
#include "linux/clock.h"

namespace stasis::criu {

// Bytes, with the zero at its end.
inline constexpr size_t kMaxSocketName = sizeof(sockaddr_un::sun_path);

// A datagram socket of the container's that is connected to one outside. CRIU was told that it has no peer.
struct OutsidePeer {
  uint32_t socket = 0;  // inodes
  uint32_t peer = 0;
  std::string path;  // of the peer's file, as the container sees it
};

// In the directory `images`, of a dump that is complete. `notes` is the path of what the preloaded library
// has noted; no such file: nothing. `processes` are the container's, init first. Names are looked for until
// `deadline`. kInternal: a socket's name was not found, or it has more than one; the message is a verdict
// (verdict.h). kDataLoss: the images are not CRIU's. kCancelled.
Status MendFileNames(int images, const std::string& notes, const std::vector<OutsidePeer>& peers,
                     const std::vector<Process>& processes, Deadline deadline, std::stop_token cancel);

}  // namespace stasis::criu
