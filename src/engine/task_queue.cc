#include "engine/task_queue.h"

namespace stasis::engine {

TaskQueue::TaskQueue(int threads) {
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this](std::stop_token stop) { Work(stop); });
  }
}

TaskQueue::~TaskQueue() {
  for (std::jthread& thread : threads_) thread.request_stop();
  threads_.clear();
}

void TaskQueue::PostAfter(std::chrono::milliseconds delay, Task task) {
  const std::lock_guard lock(mutex_);
  tasks_.emplace(std::chrono::steady_clock::now() + delay, std::move(task));
  changed_.notify_all();
}

void TaskQueue::Work(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    if (tasks_.empty()) {
      changed_.wait(lock, stop, [&] { return !tasks_.empty(); });
      continue;
    }
    const TimePoint due = tasks_.begin()->first;
    if (due > std::chrono::steady_clock::now()) {
      changed_.wait_until(lock, stop, due, [&] { return !tasks_.empty() && tasks_.begin()->first < due; });
      continue;
    }
    const Task task = std::move(tasks_.begin()->second);
    tasks_.erase(tasks_.begin());
    lock.unlock();
    task(stop);
    lock.lock();
  }
}

}  // namespace stasis::engine
