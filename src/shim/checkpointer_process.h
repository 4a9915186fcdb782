// The checkpointer as a child of the shim, and the connection to it (protocol/checkpointer.h).
#pragma once

#include <chrono>
#include <stop_token>
#include <string>
#include <utility>

#include "base/status.h"
#include "linux/subprocess.h"
#include "protocol/frame.h"
#include "shim/shim_log.h"

namespace stasis {

class CheckpointerProcess {
 public:
  // Lack of progress. The checkpointer's own limit on CRIU (checkpoint/progress.h) is shorter and says more;
  // who waits for us (supervisor/container_actor.cc) is more patient.
  static constexpr std::chrono::seconds kQuietLimit{60};
  // Its own undoing, once it is told.
  static constexpr std::chrono::seconds kUndoLimit{20};

  static StatusOr<CheckpointerProcess> Start(const std::string& program, ShimLog* log);

  protocol::Caller& caller() { return caller_; }
  const ProcessHandle& process() const { return child_.process(); }

  // Its end, which the closed connection asks for; by force when it does not come. Called once.
  ExitStatus End();

  // What a verb's error means. `broken`: the connection, which itself says nothing, so its end must.
  static Status Explain(const Status& status, bool broken, const ExitStatus& exit,
                        const std::stop_token& cancel);

 private:
  CheckpointerProcess(Child child, protocol::Caller caller, ShimLog* log)
      : child_(std::move(child)), caller_(std::move(caller)), log_(log) {}

  Child child_;
  protocol::Caller caller_;
  ShimLog* log_;
};

}  // namespace stasis
