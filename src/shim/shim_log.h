// What the shim itself has to say: a few lines in shim.log, at most 1 MiB, then begun anew. Thread-safe.
// Never fails to the caller.
#pragma once

#include <mutex>
#include <string>
#include <string_view>

#include "base/status.h"
#include "linux/unique_fd.h"

namespace stasis {

class ShimLog {
 public:
  static constexpr size_t kMaxSize = 1 << 20;

  explicit ShimLog(UniqueFd file) : file_(std::move(file)) {}

  // One line with the time before it; control characters become '?'.
  void Line(std::string_view text);
  // Only errors.
  void IfError(std::string_view what, const Status& status);

  int fd() const { return file_.get(); }  // for the standard error of children

 private:
  std::mutex mutex_;
  UniqueFd file_;
};

}  // namespace stasis
