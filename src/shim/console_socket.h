// The socket on which the OCI runtime hands over the master end of a new terminal.
#pragma once

#include <optional>
#include <stop_token>
#include <string>

#include "base/status.h"
#include "linux/clock.h"
#include "linux/unique_fd.h"
#include "linux/unix_socket.h"

namespace stasis {

class ConsoleSocket {
 public:
  // Listens in `directory` under `name`; both socket and lock file are removed at the end.
  static StatusOr<ConsoleSocket> Create(const std::string& directory, const std::string& name);
  ConsoleSocket(ConsoleSocket&&) = default;
  ~ConsoleSocket();

  // As the runtime is to be told: short enough for sun_path wherever the directory is. Valid as long as this
  // object.
  const std::string& path() const { return path_; }

  // The terminal's master end, once the runtime has sent it.
  StatusOr<UniqueFd> Receive(Deadline deadline, std::stop_token cancel) const;

 private:
  ConsoleSocket() = default;

  UniqueFd directory_;
  std::string lock_file_;
  std::string path_;
  std::optional<UnixListener> listener_;
};

}  // namespace stasis
