// A process that another program started for us and left: it is our child by SetChildSubreaper().
#pragma once

#include <optional>

#include "base/status.h"
#include "linux/process_handle.h"

namespace stasis::cli {

// Kills and reaps it at the end of its life.
class Orphan {
 public:
  // Of the pid that the file holds.
  static StatusOr<Orphan> FromPidFile(const std::string& path);
  Orphan(Orphan&&) noexcept = default;
  Orphan& operator=(Orphan&&) = delete;
  ~Orphan();
  const ProcessHandle& process() const { return *process_; }

 private:
  explicit Orphan(ProcessHandle process) : process_(std::move(process)) {}
  std::optional<ProcessHandle> process_;
};

// Kills and reaps all children of this process, and theirs, which become ours: of a program that was ended in
// the midst of its work nobody says what it had started.
void EndChildren();

}  // namespace stasis::cli
