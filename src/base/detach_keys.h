// The keys by which somebody at a terminal leaves a process to itself (query parameter and field detachKeys).
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace stasis {

// Looks through what a client types. Not thread-safe.
class DetachKeys {
 public:
  DetachKeys();  // ctrl-p,ctrl-q
  // "ctrl-p,ctrl-q", "a", "ctrl-[,x"; empty: the default. kInvalidArgument "Invalid detach keys (...)
  // provided".
  static StatusOr<DetachKeys> Parse(const std::string& text);

  // The part of `typed` that goes on to the process. What may be the beginning of the keys is kept back until
  // the next byte tells, as Docker does. After the keys all that follows is dropped.
  std::string Take(std::string_view typed);
  bool pressed() const { return matched_ == keys_.size(); }

 private:
  explicit DetachKeys(std::string keys) : keys_(std::move(keys)) {}
  std::string keys_;
  size_t matched_ = 0;  // so many of them were the last bytes
};

}  // namespace stasis
