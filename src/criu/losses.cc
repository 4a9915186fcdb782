#include "criu/losses.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "absl/strings/str_split.h"
#include "base/log.h"
#include "linux/files.h"
#include "linux/proc.h"
#include "linux/taken_descriptor.h"

namespace stasis::criu {
namespace {

constexpr char kAllowLabel[] = "stasis.checkpoint.allow";
constexpr size_t kMaxWarnings = 1000;
constexpr long kMsealNumber = 462;  // mseal(2), on every architecture

bool Contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

// Calls `take` with each line.
template <typename Take>
void ForEachLine(std::string_view text, const Take& take) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    take(text.substr(0, end));
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
  }
}

// What stands behind "NAME:" and blanks in a line of its own. Empty: it is not there.
std::string_view Field(std::string_view text, std::string_view name) {
  std::string_view value;
  ForEachLine(text, [&](std::string_view line) {
    if (!line.starts_with(name) || line.size() <= name.size() || line[name.size()] != ':') return;
    line.remove_prefix(name.size() + 1);
    const size_t begin = line.find_first_not_of(" \t");
    if (begin != line.npos) value = line.substr(begin);
  });
  return value;
}

// ---- one function for each loss

void FindPersonality(const Process& process, Losses* losses) {
  const auto text = ReadFile(ProcPath(process.pid, "personality"));
  if (!text.ok() || text->find_first_not_of("0\n") == text->npos) return;
  losses->Add(process, {"", "has a personality of its own (0x" + text->substr(0, text->find('\n')) +
                                ", personality(2)), which is the default again after a restore"});
}

void FindExitSignal(const Process& process, Losses* losses) {
  if (process.inside == 1 || process.state == 'Z') return;  // an init tells nobody inside
  const auto stat = ReadProcessStat(process.pid);
  if (!stat.ok() || stat->exit_signal == SIGCHLD) return;
  losses->Add(process, {"", "tells its parent of its end by another signal than SIGCHLD (" +
                                std::to_string(stat->exit_signal) + "), and by SIGCHLD after a restore"});
}

// The first line shows the policy of the process where the mapping has none; the others would cost a walk
// over all pages.
void FindMemoryPolicy(const Process& process, Losses* losses) {
  const auto file = OpenFile(ProcPath(process.pid, "numa_maps"), O_RDONLY);
  if (!file.ok()) return;
  std::string text(256, '\0');
  const ssize_t size = ::read(file->get(), text.data(), text.size());
  text.resize(size > 0 ? static_cast<size_t>(size) : 0);
  const size_t begin = text.find(' ');
  if (begin == text.npos) return;
  const std::string policy = text.substr(begin + 1, text.find_first_of(" \n", begin + 1) - begin - 1);
  if (policy.empty() || policy == "default") return;
  losses->Add(process, {"", "has a memory policy (" + Printable(policy, 64) +
                                ", set_mempolicy(2)), which is the default again after a restore"});
}

void FindMergedMemory(const Process& process, Losses* losses) {
  const auto text = ReadFile(ProcPath(process.pid, "ksm_stat"));
  if (!text.ok() || Field(*text, "ksm_merge_any") != "yes") return;
  losses->Add(process, {"",
                        "lets the kernel merge its memory (PR_SET_MEMORY_MERGE), and does not any more "
                        "after a restore"});
}

bool FiltersBringMitigation() {
  const auto text = ReadFile("/sys/devices/system/cpu/vulnerabilities/spec_store_bypass");
  return text.ok() && Contains(*text, "seccomp");
}

// What only becomes of locked memory.
void FindLockedMemory(const Process& process, Losses* losses) {
  const auto smaps = ReadFile(ProcPath(process.pid, "smaps"));
  if (!smaps.ok()) return;
  const MemoryFlags flags = ReadMemoryFlags(*smaps);
  if (flags.locked_on_fault) {
    losses->Add(process, {"",
                          "has memory that is locked as it is touched (MLOCK_ONFAULT), and locked at once "
                          "after a restore"});
  }
  if (flags.locked_all) {
    losses->Add(process, {"",
                          "has locked all its memory (mlockall(2)); what it maps after a restore is not "
                          "locked (MCL_FUTURE)"});
  }
}

bool KernelSealsMemory() {
  static const bool seals = ::syscall(kMsealNumber, 0UL, 0UL, 0UL) == 0 || errno != ENOSYS;
  return seals;
}

// A directory whose descriptor has an owner is watched (F_NOTIFY): nothing else gives it one.
bool IsWatchedDirectory(const Process& process, const std::string& descriptor) {
  int number = -1;
  std::from_chars(descriptor.data(), descriptor.data() + descriptor.size(), number);
  if (number < 0) return false;
  const auto copy = TakeDescriptor(process.pid, number);
  return copy.ok() && ::fcntl(copy->get(), F_GETOWN) != 0;
}

// Whether a line of the fdinfo of an inotify says IN_ONESHOT.
bool WatchesOnce(std::string_view fdinfo) {
  bool once = false;
  ForEachLine(fdinfo, [&](std::string_view line) {
    const size_t at = line.find(" mask:");
    if (!line.starts_with("inotify ") || at == line.npos) return;
    uint32_t mask = 0;
    line.remove_prefix(at + 6);
    std::from_chars(line.data(), line.data() + line.size(), mask, 16);
    once = once || (mask & 0x80000000u) != 0;
  });
  return once;
}

}  // namespace

void Losses::Add(const Process& process, Loss loss) {
  const auto same = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    return entry.loss.kind == loss.kind && entry.loss.text == loss.text;
  });
  const std::string label = Label(process);
  if (same == entries_.end()) {
    if (entries_.size() < kMaxWarnings || !loss.kind.empty())
      entries_.push_back({std::move(loss), label, label});
  } else if (same->last != label) {
    same->last = label;
    ++same->others;
  }
}

Status Losses::Judge(const std::vector<std::string>& allowed) const {
  for (const Entry& entry : entries_) {
    const std::string kind(entry.loss.kind);
    if (kind.empty() || std::find(allowed.begin(), allowed.end(), kind) != allowed.end()) continue;
    return Internal(entry.process + " " + entry.loss.text +
                    ": it would be less safe than it is; create the " + "container with --label " +
                    kAllowLabel + "=" + kind + " to have it saved all the same");
  }
  return absl::OkStatus();
}

std::vector<std::string> Losses::Warnings() const {
  std::vector<std::string> warnings;
  for (const Entry& entry : entries_) {
    std::string who = entry.process;
    if (entry.others == 1) who += ", as another one,";
    if (entry.others > 1) who += ", as " + std::to_string(entry.others) + " others,";
    warnings.push_back(who + " " + entry.loss.text);
  }
  return warnings;
}

void FindLosses(const Process& process, Losses* losses) {
  FindPersonality(process, losses);
  FindExitSignal(process, losses);
  FindMemoryPolicy(process, losses);
  FindMergedMemory(process, losses);
  const auto status = ReadFile(ProcPath(process.pid, "status"));
  if (!status.ok()) return;
  if (HasSpeculationControl(*status, FiltersBringMitigation())) {
    losses->Add(process, {kSpeculation,
                          "has speculative execution restricted for itself (PR_SET_SPECULATION_CTRL), "
                          "which it is not any more after a restore"});
  }
  const std::string_view locked = Field(*status, "VmLck");
  if (!locked.empty() && !locked.starts_with("0 ")) FindLockedMemory(process, losses);
}

void FindDescriptorLosses(const Process& process, const std::string& descriptor, const std::string& link,
                          Losses* losses) {
  if (link == "anon_inode:inotify") {
    const auto fdinfo = ReadFile(ProcPath(process.pid, "fdinfo/" + descriptor));
    if (!fdinfo.ok() || !WatchesOnce(*fdinfo)) return;
    losses->Add(process,
                {"", "watches a file for one event (IN_ONESHOT), and for all that come after a restore"});
    return;
  }
  if (!link.starts_with('/')) return;
  const std::string path = ProcPath(process.pid, "fd/" + descriptor);
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) return;
  if (S_ISDIR(info.st_mode) && IsWatchedDirectory(process, descriptor)) {
    losses->Add(process, {"", "is told of changes in the directory " + Printable(link, 256) +
                                  " by a signal (F_NOTIFY), and is not any more after a restore"});
  }
  if (info.st_nlink == 0 && S_ISREG(info.st_mode) && ::listxattr(path.c_str(), nullptr, 0) > 0) {
    losses->Add(process, {"", "has the deleted file " + Printable(link, 256) +
                                  " open, whose extended attributes do not come back"});
  }
}

void FindMemoryLosses(const Process& process, pid_t shown_by, Losses* losses) {
  if (!KernelSealsMemory()) return;
  const auto smaps = ReadFile(ProcPath(shown_by, "smaps"), size_t{1} << 30);
  if (!smaps.ok() || !ReadMemoryFlags(*smaps).sealed) return;
  losses->Add(process,
              {kSealedMemory, "has sealed memory (mseal(2)), which is not sealed any more after a restore"});
}

void FindLossesInLog(const Log& log, const std::vector<Process>& processes, Losses* losses) {
  for (const LogError& warning : log.warnings) {
    if (!Contains(warning.text, "notify events will be dropped")) continue;
    for (const Process& process : processes) {
      if (process.pid != warning.process) continue;
      losses->Add(process, {"", "has not read all events of its inotify, and those do not come back"});
    }
  }
}

std::set<std::string> UnreadDatagrams(pid_t process) {
  std::set<std::string> sockets;
  for (const char* table : {"net/udp", "net/udp6"}) {
    ForEachLine(ReadFile(ProcPath(process, table)).value_or(""), [&](std::string_view line) {
      // sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode ...
      const std::vector<std::string> words = absl::StrSplit(std::string(line), ' ', absl::SkipEmpty());
      if (words.size() < 10 || words[4].size() != 17 || words[4].substr(9) == "00000000") return;
      sockets.insert("socket:[" + words[9] + "]");
    });
  }
  return sockets;
}

void FindUnreadDatagrams(const std::set<std::string>& sockets, const std::vector<Process>& processes,
                         Losses* losses) {
  if (sockets.empty()) return;
  for (const Process& process : processes) {
    const std::string directory = ProcPath(process.pid, "fd");
    const auto descriptors = ListDirectory(directory);
    if (!descriptors.ok()) continue;
    for (const std::string& descriptor : *descriptors) {
      if (!sockets.contains(ReadProcLink(directory + "/" + descriptor).value_or(""))) continue;
      losses->Add(process, {"", "has not read all datagrams of a UDP socket, and those do not come back"});
      break;
    }
  }
}

bool HasSpeculationControl(std::string_view status, bool filters_count) {
  const std::string_view seccomp = Field(status, "Seccomp");
  if (filters_count && !seccomp.empty() && seccomp != "0") return false;
  const std::string_view store = Field(status, "Speculation_Store_Bypass");
  const std::string_view branch = Field(status, "SpeculationIndirectBranch");
  // "thread mitigated" and "thread force mitigated"; "conditional disabled" and "conditional force disabled".
  return (store.starts_with("thread ") && store.ends_with("mitigated")) ||
         (branch.starts_with("conditional ") && branch.ends_with("disabled"));
}

MemoryFlags ReadMemoryFlags(std::string_view smaps) {
  MemoryFlags flags;
  bool kernels_own = false, any = false, all = true;
  ForEachLine(smaps, [&](std::string_view line) {
    constexpr std::string_view kFlags = "VmFlags:";
    if (!line.starts_with(kFlags)) {
      const size_t colon = line.find(':');
      // The first line of a mapping: "55d0-55d2 r--p 00000000 fd:00 123   /name".
      if (colon != line.npos && line.find('-') < colon) {
        kernels_own = Contains(line, " [v") || Contains(line, " [uprobes]");  // [vdso], [vvar], [vsyscall]
      }
      return;
    }
    if (kernels_own) return;
    const auto has = [&](std::string_view flag) { return Contains(line, flag); };
    flags.sealed = flags.sealed || has(" sl");
    flags.locked_on_fault = flags.locked_on_fault || has(" lf");
    if (has(" io") || has(" pf")) return;  // it cannot be locked
    any = true;
    all = all && has(" lo");
  });
  flags.locked_all = any && all;
  return flags;
}

}  // namespace stasis::criu
