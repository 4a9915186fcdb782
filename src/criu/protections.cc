#include "criu/protections.h"

#include <set>

namespace stasis::criu {
namespace {

constexpr uint64_t kNotHandedOn = 2;  // PR_MDWE_NO_INHERIT

}  // namespace

std::string Protections::Text(const std::vector<Process>& processes) const {
  std::map<pid_t, pid_t> parents;
  for (const Process& process : processes) parents[process.pid] = process.parent;
  const auto flags_of = [&](pid_t process) -> uint64_t {
    std::set<pid_t> seen;  // a tree that was read while it changed may be none
    uint64_t not_handed_on = 0;
    for (pid_t at = process; parents.contains(at) && seen.insert(at).second; at = parents[at]) {
      const auto found = flags_.find(at);
      if (found != flags_.end()) return (found->second & not_handed_on) != 0 ? 0 : found->second;
      not_handed_on = kNotHandedOn;
    }
    return 0;
  };
  std::string lines;
  for (const Process& process : processes) {
    const uint64_t flags = process.state == 'Z' ? 0 : flags_of(process.pid);
    if (flags != 0) lines += std::to_string(process.inside) + " " + std::to_string(flags) + "\n";
  }
  return lines;
}

}  // namespace stasis::criu
