// Streams between a client of the API and a process of a container.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <string_view>

#include "base/status.h"
#include "linux/unique_fd.h"

namespace stasis::backend {

// Takes bytes for the client, in order. An error means that the client is gone: the producer stops.
using ByteSink = std::function<Status(std::string_view bytes)>;

// Bytes from the client's body: up to `size` into `out`; 0 at its end.
using ByteSource = std::function<StatusOr<size_t>(char* out, size_t size)>;

// An attachment to a process that may not run yet.
class AttachSession {
 public:
  virtual ~AttachSession() = default;
  virtual bool terminal() const = 0;
  // Waits until the process is about to run, then gives a connected stream socket: bytes read from it go to
  // the client as they are (Docker's multiplexed frames, or raw where there is a terminal), bytes written to
  // it are the process's stdin; shutdown(SHUT_WR) ends its stdin, its end of stream is the end of the
  // attachment. Once. kCancelled; kNotFound when the container was removed before it ran.
  virtual StatusOr<UniqueFd> Connect(std::stop_token cancel) = 0;
  // The client has left by its detach keys. At most once, after Connect.
  virtual void Detached() = 0;
};

struct AttachOptions {
  bool use_stdin = false;
  bool use_stdout = false;
  bool use_stderr = false;
};

}  // namespace stasis::backend
