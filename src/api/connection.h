// One client's socket: reading and writing, each wait bounded by a deadline and a stop_token.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <stop_token>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "linux/clock.h"
#include "linux/unique_fd.h"

namespace stasis::api {

// Used by one thread. Errors: kUnavailable, the client is gone; kDeadlineExceeded; kCancelled.
class Connection {
 public:
  explicit Connection(UniqueFd socket) : socket_(std::move(socket)) {}
  // Closes in order: the client reads what was written and then end of stream, whatever it had still been
  // sending.
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  int fd() const { return socket_.get(); }

  // Up to `size` bytes; 0 at the end of the stream.
  StatusOr<size_t> Read(char* out, size_t size, Deadline deadline, std::stop_token cancel);
  // All of `bytes`. `pause` bounds the time in which not one byte is taken; nullopt: no bound.
  Status Write(std::string_view bytes, std::optional<std::chrono::seconds> pause, std::stop_token cancel);

  // Writes no more, and throws away what still comes, until the client closes: one that is still writing a
  // body that nobody wants reads the answer only then.
  void Linger(Deadline deadline, std::stop_token cancel);

 private:
  UniqueFd socket_;
};

}  // namespace stasis::api
