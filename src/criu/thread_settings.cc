#include "criu/thread_settings.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>
#include <cstring>
#include <string_view>

#include "absl/strings/numbers.h"
#include "base/hex.h"
#include "linux/files.h"
#include "linux/proc.h"

namespace stasis::criu {
namespace {

constexpr int kOfThread = 1;                // IOPRIO_WHO_PROCESS
constexpr int kClassShift = 13;             // above it there is the class, 0 for the default
constexpr uint64_t kDefaultSlack = 50'000;  // ns

// "0-3,7".
cpu_set_t ParseProcessors(std::string_view list) {
  cpu_set_t set;
  CPU_ZERO(&set);
  const char* at = list.data();
  const char* const end = at + list.size();
  while (at < end) {
    unsigned first = 0;
    auto [next, error] = std::from_chars(at, end, first);
    if (error != std::errc()) break;
    unsigned last = first;
    if (next < end && *next == '-') next = std::from_chars(next + 1, end, last).ptr;
    for (unsigned i = first; i <= last && i < CPU_SETSIZE; ++i) CPU_SET(i, &set);
    at = next + 1;
  }
  return set;
}

cpu_set_t AllowedProcessors(const std::vector<std::string>& cgroup) {
  for (const std::string& directory : cgroup) {
    for (const char* file : {"/cpuset.effective_cpus", "/cpuset.cpus.effective"}) {
      if (const auto text = ReadFile(directory + file); text.ok()) return ParseProcessors(*text);
    }
  }
  return ParseProcessors(ReadFile("/sys/devices/system/cpu/online").value_or(""));
}

std::string Processors(pid_t thread, const cpu_set_t& allowed) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(thread, sizeof set, &set) != 0 || CPU_EQUAL(&set, &allowed)) return "-";
  std::string bytes(sizeof set, '\0');
  std::memcpy(bytes.data(), &set, sizeof set);
  while (!bytes.empty() && bytes.back() == '\0') bytes.pop_back();
  return bytes.empty() ? "-" : ToHex(bytes);
}

long IoPriority(pid_t thread) {
  const long priority = ::syscall(SYS_ioprio_get, kOfThread, thread);
  return priority > 0 && priority >> kClassShift != 0 ? priority : 0;
}

uint64_t TimerSlack(pid_t thread) {
  uint64_t slack = 0;
  const auto text = ReadFile(ProcPath(thread, "timerslack_ns"));
  return text.ok() && absl::SimpleAtoi(*text, &slack) && slack != kDefaultSlack ? slack : 0;
}

}  // namespace

std::string ReadThreadSettings(const std::vector<Process>& processes,
                               const std::vector<std::string>& cgroup) {
  const cpu_set_t allowed = AllowedProcessors(cgroup);
  std::string lines;
  for (const Process& process : processes) {
    const auto threads = ListThreads(process.pid);
    if (!threads.ok()) continue;  // it has ended
    for (const pid_t thread : *threads) {
      const long priority = IoPriority(thread);
      const uint64_t slack = TimerSlack(thread);
      const std::string processors = Processors(thread, allowed);
      if (priority == 0 && slack == 0 && processors == "-") continue;
      const auto inside = InnermostPid(thread);
      if (!inside.ok()) continue;
      lines += std::to_string(*inside) + " " + std::to_string(priority) + " " + std::to_string(slack) + " " +
               processors + "\n";
    }
  }
  return lines;
}

}  // namespace stasis::criu
