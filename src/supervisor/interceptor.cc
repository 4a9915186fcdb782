#include "supervisor/interceptor.h"

#include "base/log.h"

namespace stasis::supervisor {

Status CallLog::Intercept(const std::string& method, const std::function<Status()>& next) {
  const auto begin = std::chrono::steady_clock::now();
  Status status = next();
  const auto took = std::chrono::steady_clock::now() - begin;
  const auto milliseconds = std::chrono::duration<double, std::milli>(took).count();
  if (status.ok()) {
    spdlog::debug("{}: ok, {:.1f} ms", method, milliseconds);
  } else {
    spdlog::info("{}: {} {}, {:.1f} ms", method, static_cast<int>(status.code()), Printable(Message(status)),
                 milliseconds);
  }
  std::lock_guard lock(mutex_);
  Count& count = counts_[{method, status.code()}];
  ++count.calls;
  count.time += took;
  return status;
}

std::map<std::pair<std::string, StatusCode>, CallLog::Count> CallLog::counts() const {
  std::lock_guard lock(mutex_);
  return counts_;
}

}  // namespace stasis::supervisor
