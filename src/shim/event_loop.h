// The shim's one thread for everything that must never wait: standard streams, exits, timers. What the loop's
// handlers touch needs no lock, because only they touch it; other threads come in by Post and Call.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/status.h"
#include "linux/clock.h"
#include "linux/unique_fd.h"

namespace stasis {

class EventLoop {
 public:
  static StatusOr<std::unique_ptr<EventLoop>> Create();

  // Runs handlers on the calling thread until Stop. Once.
  void Run();
  // Any thread. Run returns after the handlers of this round.
  void Stop();

  // ---- Any thread.
  // Runs `work` on the loop's thread and waits for its end. On the loop's own thread, and once Run has
  // returned, it runs at once and here.
  void Call(const std::function<void()>& work);
  // Runs `work` on the loop's thread later.
  void Post(std::function<void()> work);

  // ---- Only on the loop's thread.
  using Handler = std::function<void(short revents)>;
  // Calls `handler` whenever `fd` has one of `events` (poll(2)) or an error. One watch per descriptor; the
  // descriptor is borrowed until Unwatch. A handler may end its own watch and any other.
  void Watch(int fd, short events, Handler handler);
  // Events 0 keeps the watch for errors and hang-up alone; kParked for nothing at all.
  void SetEvents(int fd, short events);
  static constexpr short kParked = -1;
  void Unwatch(int fd);

  using Timer = uint64_t;
  Timer RunAfter(std::chrono::milliseconds wait, std::function<void()> work);
  void Cancel(Timer timer);

 private:
  explicit EventLoop(UniqueFd wake) : wake_(std::move(wake)) {}
  void Round();
  void RunPosted();
  void RunTimers();
  Deadline NextTimer() const;

  struct Watcher {
    short events;
    uint64_t number;  // tells a new watch of the same descriptor from the one that was polled
    std::shared_ptr<Handler> handler;
  };
  struct Pending {
    Deadline at;
    std::function<void()> work;
  };

  UniqueFd wake_;
  std::map<int, Watcher> watchers_;
  std::map<Timer, Pending> timers_;
  uint64_t next_number_ = 1;

  std::mutex mutex_;  // guards what follows
  std::vector<std::function<void()>> posted_;
  std::thread::id thread_;
  bool stopping_ = false;
  bool ended_ = false;
};

}  // namespace stasis
