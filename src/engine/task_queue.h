// Work that follows from something but that nobody waits for: clearing up after an exit, automatic removal,
// restarts.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

namespace stasis::engine {

// Thread-safe.
class TaskQueue {
 public:
  using Task = std::function<void(std::stop_token)>;

  explicit TaskQueue(int threads);
  // Asks running tasks to stop and waits for them; what has not begun is dropped.
  ~TaskQueue();

  void Post(Task task) { PostAfter(std::chrono::milliseconds(0), std::move(task)); }
  void PostAfter(std::chrono::milliseconds delay, Task task);

 private:
  using TimePoint = std::chrono::steady_clock::time_point;
  void Work(const std::stop_token& stop);

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::multimap<TimePoint, Task> tasks_;  // by when they are due
  std::vector<std::jthread> threads_;     // last: joined before the rest goes
};

}  // namespace stasis::engine
