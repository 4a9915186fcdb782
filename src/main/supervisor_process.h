// The supervisor as a child of the engine's program: started, watched, started again when it dies. The
// containers live through all of it, since their shims are nobody's children.
#pragma once

#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "linux/subprocess.h"

namespace stasis {

struct SupervisorPlan {
  std::vector<std::string> argv;
  std::string socket;    // where it will serve
  std::string log_path;  // its stderr, appended
};

class SupervisorProcess {
 public:
  // Starts it, unless one answers on the socket already (left over from an engine that was killed), and
  // watches it. Returns once it answers. kCancelled: nothing of it is left.
  static StatusOr<std::unique_ptr<SupervisorProcess>> Start(SupervisorPlan plan, std::stop_token cancel);
  // Ends it by SIGTERM, after a grace by SIGKILL. The containers run on.
  ~SupervisorProcess();
  // Nothing was asked of it yet: it gets a short grace.
  void ExpectNothing() { idle_ = true; }

 private:
  explicit SupervisorProcess(SupervisorPlan plan) : plan_(std::move(plan)) {}
  Status SpawnOne(std::stop_token cancel);
  void Watch(std::stop_token stop);
  void End();

  const SupervisorPlan plan_;
  bool idle_ = false;
  std::optional<Child> child_;          // one of ours; the thread's once that runs
  std::optional<ProcessHandle> found_;  // or one that was there
  std::jthread watcher_;                // last: joined first
};

}  // namespace stasis
