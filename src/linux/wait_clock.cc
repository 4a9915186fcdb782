#include "linux/wait_clock.h"

#include <sched.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "linux/files.h"
#include "linux/interrupted_wait.h"
#include "linux/proc.h"

namespace stasis {
namespace {

struct Scheduled {
  std::chrono::nanoseconds last_ran{0};  // of its processor's clock
  uint64_t switches = 0;                 // voluntary ones
};

std::string Field(const std::string& text, const std::string& name) {
  const size_t at = text.find("\n" + name + " ");
  const size_t colon = at == text.npos ? at : text.find(": ", at);
  if (colon == text.npos) return "";
  return text.substr(colon + 2, text.find('\n', colon) - colon - 2);
}

std::optional<Scheduled> ReadScheduled(const std::string& thread) {
  auto text = ReadFile("/proc/" + thread + "/sched");
  if (!text.ok()) return std::nullopt;
  Scheduled scheduled;
  double milliseconds = 0;
  if (!absl::SimpleAtod(Field(*text, "se.exec_start"), &milliseconds) ||
      !absl::SimpleAtoi(Field(*text, "nr_voluntary_switches"), &scheduled.switches))
    return std::nullopt;
  // The kernel forgets it as it moves a thread to another processor.
  if (milliseconds <= 0) return std::nullopt;
  scheduled.last_ran = std::chrono::nanoseconds(std::llround(milliseconds * 1e6));
  return scheduled;
}

// /proc/TID/syscall of one that sleeps: "NUMBER ARGUMENT... STACK INSTRUCTION".
bool WaitsWithTimeOut(pid_t thread) {
  auto text = ReadFile(ProcPath(thread, "syscall"));
  if (!text.ok()) return false;
  const std::vector<std::string> words = absl::StrSplit(*text, ' ');
  user_regs_struct registers = {};
  if (words.size() < 9 || !absl::SimpleAtoi(words[0], &registers.orig_rax)) return false;
  unsigned long long* const arguments[] = {&registers.rdi, &registers.rsi, &registers.rdx,
                                           &registers.r10, &registers.r8,  &registers.r9};
  for (size_t i = 0; i < std::size(arguments); ++i) {
    uint64_t value = 0;
    if (!absl::SimpleHexAtoi(words[i + 1], &value)) return false;
    *arguments[i] = value;
  }
  unsigned long long* where = nullptr;
  switch (StasisTimeOutOf(&registers, &where)) {
    case STASIS_MILLISECONDS:
      return static_cast<int32_t>(*where) > 0;
    case STASIS_TIMESPEC:
      return *where != 0;
    default:
      return false;
  }
}

}  // namespace

bool BegunWait::WasStopped() const {
  const auto scheduled = ReadScheduled(std::to_string(thread));
  // Woken to stop, or stopped in its sleep.
  return scheduled && (scheduled->switches == switches || scheduled->switches == switches + 1);
}

std::optional<BegunWait> WaitClock::Look(pid_t thread) {
  if (!WaitsWithTimeOut(thread)) return std::nullopt;
  const auto scheduled = ReadScheduled(std::to_string(thread));
  if (!WaitsWithTimeOut(thread)) return std::nullopt;
  const auto again = ReadScheduled(std::to_string(thread));
  if (!scheduled || !again || scheduled->switches != again->switches) return std::nullopt;  // another wait
  const auto stat = ReadProcessStat(thread);
  if (!stat.ok()) return std::nullopt;
  const auto offset = Offset(stat->processor);
  if (!offset.ok()) return std::nullopt;
  return BegunWait{thread, scheduled->last_ran + *offset, scheduled->switches};
}

StatusOr<std::chrono::nanoseconds> WaitClock::Offset(int processor) {
  if (const auto known = offsets_.find(processor); known != offsets_.end()) return known->second;
  cpu_set_t before, there;
  CPU_ZERO(&before);
  CPU_ZERO(&there);
  CPU_SET(static_cast<size_t>(processor), &there);
  if (::sched_getaffinity(0, sizeof before, &before) != 0) return ErrnoError(errno, "sched_getaffinity");
  if (::sched_setaffinity(0, sizeof there, &there) != 0) return ErrnoError(errno, "sched_setaffinity");
  ::sched_yield();  // has its time brought up to date
  const auto here = ReadScheduled("thread-self");
  const std::chrono::nanoseconds now = std::chrono::steady_clock::now().time_since_epoch();
  if (::sched_setaffinity(0, sizeof before, &before) != 0) return ErrnoError(errno, "sched_setaffinity");
  if (!here) return NotFound("/proc/thread-self/sched");
  return offsets_[processor] = now - here->last_ran;
}

}  // namespace stasis
