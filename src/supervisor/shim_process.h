// The shim as a process: starting one, finding one again after a restart, and clearing up after a dead one.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>

#include "base/status.h"
#include "linux/process_handle.h"
#include "linux/subprocess.h"
#include "protocol/shim.h"

namespace stasis::supervisor {

// A shim's process. Reaps it when it is a child of ours; at the end of this object's life it runs on.
class ShimProcess {
 public:
  // Starts PROGRAM for `directory`, which holds its config.json, in a session of its own, and waits until it
  // says that it serves. On failure it is killed; the error is the one it gave.
  static StatusOr<ShimProcess> Start(const std::string& program, const std::string& directory,
                                     std::stop_token cancel);
  // The one that shim.pid in `directory` names. kNotFound: it has ended, or there is no such file.
  static StatusOr<ShimProcess> Find(const std::string& directory);

  ShimProcess(ShimProcess&&) noexcept = default;
  ShimProcess& operator=(ShimProcess&&) = delete;
  ~ShimProcess();

  // "PID STARTTIME": tells this process from every other of this boot.
  const std::string& name() const { return name_; }

  // Until it has ended; then it is reaped. kDeadlineExceeded, kCancelled.
  Status WaitEnded(Deadline deadline, std::stop_token cancel);
  bool Ended() const;
  // SIGKILL, then reaped.
  void Kill();

 private:
  ShimProcess(std::optional<Child> child, std::optional<ProcessHandle> found, std::string name)
      : child_(std::move(child)), found_(std::move(found)), name_(std::move(name)) {}
  const ProcessHandle& handle() const { return child_ ? child_->process() : *found_; }

  std::optional<Child> child_;  // we started it
  std::optional<ProcessHandle> found_;
  bool reaped_ = false;
  std::string name_;
};

// Undoes what a shim that is dead left behind: CRIU killed, the container thawed and killed, what a
// checkpoint made aside removed, the runtime's record deleted. `directory` itself stays. May be repeated.
Status ClearAfterShim(const protocol::ShimConfig& config, const std::string& directory);

// How init ended, when the shim had still written it down; else exit 255, "shim died".
protocol::ExitRecord ExitOfDeadShim(const std::string& directory);

}  // namespace stasis::supervisor
