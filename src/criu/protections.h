// What a process forbids itself that CRIU does not bring back, and that a call in the restored process sets
// again (preload/protections.c): memory that can be both written and executed (PR_SET_MDWE(2const)).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "criu/processes.h"

namespace stasis::criu {

// Among the images. Lines "PROCESS FLAGS": as the container sees it, and as PR_GET_MDWE(2const) says.
inline constexpr char kProtectionsFile[] = "protections";

class Protections {
 public:
  // What the process, or its copy, has answered.
  void Note(const Process& process, uint64_t flags) { flags_[process.pid] = flags; }
  // For all of `processes`, which stand still. One that has not been asked was made since, and has what its
  // parent has handed on. Empty: none has any.
  std::string Text(const std::vector<Process>& processes) const;

 private:
  std::map<pid_t, uint64_t> flags_;
};

}  // namespace stasis::criu
