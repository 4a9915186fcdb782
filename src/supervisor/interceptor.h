// What is done around every unary call of the client: a chain of interceptors, the first one outermost.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "base/status.h"

namespace stasis::supervisor {

// Thread-safe: calls run beside each other.
class Interceptor {
 public:
  virtual ~Interceptor() = default;
  // `method` is the call's full name, "/types.API/State". Runs `next`, at most once, and returns what the
  // caller is to get.
  virtual Status Intercept(const std::string& method, const std::function<Status()>& next) = 0;
};

// Logs each call (debug; those that fail: info), and counts calls and their time by method and code.
class CallLog final : public Interceptor {
 public:
  struct Count {
    uint64_t calls = 0;
    std::chrono::nanoseconds time{0};
  };

  Status Intercept(const std::string& method, const std::function<Status()>& next) override;
  std::map<std::pair<std::string, StatusCode>, Count> counts() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, StatusCode>, Count> counts_;
};

}  // namespace stasis::supervisor
