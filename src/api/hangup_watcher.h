// Tells when clients leave while nobody reads from their sockets: one thread for all connections.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>

#include "base/status.h"
#include "linux/unique_fd.h"

namespace stasis::api {

// Thread-safe. Outlives its Watches.
//
// A client is gone when it has closed both directions (POLLHUP of a unix socket). One that has only ended its
// own sending (POLLRDHUP) still reads its answer.
class HangupWatcher {
 public:
  static StatusOr<std::unique_ptr<HangupWatcher>> Create();
  ~HangupWatcher();

  // Ends the watching of one socket with its life.
  class [[nodiscard]] Watch {
   public:
    Watch(HangupWatcher* watcher, uint64_t id) : watcher_(watcher), id_(id) {}
    Watch(Watch&& other) noexcept : watcher_(std::exchange(other.watcher_, nullptr)), id_(other.id_) {}
    Watch& operator=(Watch&&) = delete;
    ~Watch() {
      if (watcher_) watcher_->Remove(id_);
    }

   private:
    HangupWatcher* watcher_;
    uint64_t id_;
  };

  // Asks `source` to stop, from the watcher's thread, when the client of `socket` is gone; at once when it
  // already is. `socket` must stay open as long as the Watch.
  StatusOr<Watch> Add(int socket, std::stop_source source);

 private:
  struct Entry {
    int socket;
    std::stop_source source;
  };
  explicit HangupWatcher(UniqueFd epoll, UniqueFd wake) : epoll_(std::move(epoll)), wake_(std::move(wake)) {}
  void Remove(uint64_t id);
  void Loop();

  UniqueFd epoll_;
  UniqueFd wake_;
  std::mutex mutex_;
  uint64_t last_id_ = 0;               // guarded by mutex_; 0 is wake_
  std::map<uint64_t, Entry> entries_;  // guarded by mutex_
  std::jthread thread_;
};

}  // namespace stasis::api
