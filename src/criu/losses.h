// What a restore does not bring back of a container's processes, as far as it can be seen from outside
// (proc(5), pidfd_getfd(2)). The caller tells its user at the making of a checkpoint. Where a restored
// program would be less safe than the one that was saved, the checkpoint is refused, unless the user has
// allowed it.
//
// docs/user-guide.md, "What does not come back", has all of it, also what nobody can see from outside.
#pragma once

#include <sys/types.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "criu/log.h"
#include "criu/processes.h"

namespace stasis::criu {

struct Loss {
  // What the user has to allow, where a program would be less safe: one of kAllowable. Empty: no permission
  // is needed.
  std::string_view kind;
  std::string text;  // as it stands behind "process 7 (node) "
};

inline constexpr std::string_view kLandlock = "landlock", kSealedMemory = "mseal",
                                  kSpeculation = "speculation", kCpuidFaulting = "cpuid";
// "mdwe": it comes back (criu/protections.h), and needs no permission any more.
inline constexpr std::string_view kAllowable[] = {kLandlock, kSealedMemory, "mdwe", kSpeculation,
                                                  kCpuidFaulting};

// The losses of all processes of a container; several of the same kind are told as one.
class Losses {
 public:
  void Add(const Process& process, Loss loss);
  // kInternal: a verdict (criu/verdict.h) on the first loss that is not `allowed`, with what would allow it.
  Status Judge(const std::vector<std::string>& allowed) const;
  // One sentence for each, in the order of their finding.
  std::vector<std::string> Warnings() const;

 private:
  struct Entry {
    Loss loss;
    std::string process;  // the first that has it
    std::string last;
    int others = 0;
  };
  std::vector<Entry> entries_;
};

// What /proc tells of the process itself, its memory apart.
void FindLosses(const Process& process, Losses* losses);
// What it tells of one of its descriptors, whose link in /proc/PID/fd is `link`.
void FindDescriptorLosses(const Process& process, const std::string& descriptor, const std::string& link,
                          Losses* losses);
// What it tells of its memory, which `shown_by` has: the process itself, or a copy of it.
void FindMemoryLosses(const Process& process, pid_t shown_by, Losses* losses);

// What CRIU says in its log of a dump that it leaves out.
void FindLossesInLog(const Log& log, const std::vector<Process>& processes, Losses* losses);
// The UDP sockets, as /proc/PID/fd shows them, of the network namespace of `process`, with datagrams that
// nobody has read. Quick, since it is asked while the container stands still.
std::set<std::string> UnreadDatagrams(pid_t process);
// Whose they are.
void FindUnreadDatagrams(const std::set<std::string>& sockets, const std::vector<Process>& processes,
                         Losses* losses);

// ---- the parts that need no process, for tests

// Of the text of /proc/PID/status. `filters_count`: on this machine a seccomp filter brings the mitigation
// of speculation with it, and so does a restored one.
bool HasSpeculationControl(std::string_view status, bool filters_count);
// Of the text of /proc/PID/smaps.
struct MemoryFlags {
  bool sealed = false;           // some of it, the kernel's own mappings apart
  bool locked_on_fault = false;  // some of it
  bool locked_all = false;       // all that can be
};
MemoryFlags ReadMemoryFlags(std::string_view smaps);

}  // namespace stasis::criu
