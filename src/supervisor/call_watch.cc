#include "supervisor/call_watch.h"

#include <grpcpp/server_context.h>

#include <chrono>

namespace stasis::supervisor {

constexpr std::chrono::milliseconds kPeriod{100};

CallWatch::CallWatch() : thread_([this](std::stop_token stop) { Watch(std::move(stop)); }) {}

CallWatch::~CallWatch() = default;

CallWatch::Scope::Scope(CallWatch& watch, const grpc::ServerContext& context)
    : watch_(watch), context_(context) {
  std::lock_guard lock(watch_.mutex_);
  place_ = watch_.calls_.insert(watch_.calls_.end(), this);
  watch_.changed_.notify_one();
}

CallWatch::Scope::~Scope() {
  std::lock_guard lock(watch_.mutex_);
  watch_.calls_.erase(place_);
}

void CallWatch::Watch(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [this] { return !calls_.empty(); })) {
    for (Scope* call : calls_) {
      // Under the lock, so that the call can't end meanwhile. What the token wakes must not end calls itself.
      if (!call->source_.stop_requested() && call->context_.IsCancelled()) call->source_.request_stop();
    }
    changed_.wait_for(lock, stop, kPeriod, [] { return false; });
  }
}

}  // namespace stasis::supervisor
