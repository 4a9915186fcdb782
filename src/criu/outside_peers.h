// Unix sockets of a container that are connected to a process outside it: one of the host's or of another
// container's, by way of a directory or a socket that is mounted into this one (/dev/log), or one that
// `docker exec` started. CRIU saves no half of a connection.
//
// A datagram socket has no state of its connection but the path. So one that is connected to a path that the
// container sees is left to be connected again by the restore (file_names.h). Any other is named.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "base/status.h"
#include "criu/file_names.h"
#include "criu/processes.h"
#include "linux/clock.h"

namespace stasis::criu {

// Those that can be kept. `processes` are the container's, init first; paths are looked for until `deadline`.
// kInternal: one cannot be kept, and kUnavailable: nor can it, but it ends by itself as a rule; the message
// is a verdict (verdict.h). What cannot be looked at is passed over: CRIU will tell. The preloaded library
// finds them in `file` (preload/sockets.c), which is not made where there are none.
StatusOr<std::vector<OutsidePeer>> FindOutsidePeers(const std::vector<Process>& processes,
                                                    const std::string& file, Deadline deadline,
                                                    std::stop_token cancel);

}  // namespace stasis::criu
