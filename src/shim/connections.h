// The threads that speak with clients: one for each connection, all of them joined.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <mutex>
#include <stop_token>
#include <thread>

#include "linux/unique_fd.h"

namespace stasis {

// Thread-safe. At the end of its life it asks all to stop and waits for them.
class Connections {
 public:
  using Serve = std::function<void(UniqueFd connection, std::stop_token stop)>;

  explicit Connections(size_t limit) : limit_(limit) {}
  ~Connections();

  // Serves the connection on a thread of its own; closes it at once when `limit` others are being served.
  void Add(UniqueFd connection, Serve serve);
  // Asks all threads to stop.
  void StopAll();

 private:
  struct Served {
    std::jthread thread;
    std::atomic<bool> done = false;
  };
  const size_t limit_;
  std::mutex mutex_;
  std::list<Served> served_;  // finished ones are joined at the next Add
};

}  // namespace stasis
