#include "linux/proc.h"

#include <limits.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "linux/files.h"

namespace stasis {
namespace {

constexpr size_t kMaxStat = 1 << 16;
constexpr size_t kMaxChildren = 1 << 20;

}  // namespace

std::string ProcPath(pid_t process, std::string_view file) {
  return "/proc/" + std::to_string(process) + "/" + std::string(file);
}

StatusOr<ProcessStat> ParseProcessStat(const std::string& text) {
  // The second field, the name in parentheses, may hold blanks and parentheses itself.
  constexpr size_t kFirst = 3;
  const size_t name_end = text.rfind(')');
  std::vector<std::string> fields;
  if (name_end != text.npos) fields = absl::StrSplit(text.substr(name_end + 1), ' ', absl::SkipEmpty());
  const auto read = [&](size_t field, auto* number) {
    return field - kFirst < fields.size() && absl::SimpleAtoi(fields[field - kFirst], number);
  };
  constexpr uint32_t kExiting = 4;  // PF_EXITING of the kernel's sched.h
  ProcessStat stat;
  uint32_t flags = 0;
  if (!read(4, &stat.parent) || !read(9, &flags) || !read(22, &stat.start_time) ||
      !read(38, &stat.exit_signal) || !read(39, &stat.processor) || !read(52, &stat.exit_code))
    return DataLoss("stat of a process: a field is missing");
  stat.state = fields[0][0];
  stat.ending = (flags & kExiting) != 0;
  return stat;
}

StatusOr<ProcessStat> ReadProcessStat(pid_t process) {
  const std::string path = ProcPath(process, "stat");
  STASIS_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxStat));
  auto stat = ParseProcessStat(text);
  if (!stat.ok()) return Annotate(stat.status(), path);
  return stat;
}

StatusOr<std::vector<pid_t>> ListThreads(pid_t process) {
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(ProcPath(process, "task")));
  std::vector<pid_t> threads;
  for (const std::string& name : names) {
    if (pid_t thread = 0; absl::SimpleAtoi(name, &thread)) threads.push_back(thread);
  }
  return threads;
}

StatusOr<bool> IsKilled(pid_t thread) {
  STASIS_ASSIGN_OR_RETURN(const std::string text, ReadFile(ProcPath(thread, "status"), kMaxStat));
  constexpr std::string_view kPending = "\nSigPnd:\t";
  const size_t begin = text.find(kPending);
  uint64_t signals = 0;
  if (begin == text.npos || !absl::SimpleHexAtoi(text.substr(begin + kPending.size(), 16), &signals))
    return DataLoss("status of a thread: no pending signals");
  return (signals & (1ull << (SIGKILL - 1))) != 0;
}

std::vector<pid_t> ListChildren(pid_t process) {
  std::vector<pid_t> children;
  const auto threads = ListThreads(process);
  if (!threads.ok()) return children;
  for (const pid_t thread : *threads) {
    const auto text =
        ReadFile(ProcPath(process, "task/" + std::to_string(thread) + "/children"), kMaxChildren);
    if (!text.ok()) continue;
    const std::vector<std::string> numbers = absl::StrSplit(*text, ' ', absl::SkipWhitespace());
    for (const std::string& number : numbers) {
      if (pid_t child = 0; absl::SimpleAtoi(number, &child)) children.push_back(child);
    }
  }
  return children;
}

StatusOr<std::string> ReadProcLink(const std::string& path) {
  std::string target(PATH_MAX, '\0');
  const ssize_t size = ::readlink(path.c_str(), target.data(), target.size());
  if (size < 0) return ErrnoError(errno, "readlink " + path);
  target.resize(static_cast<size_t>(size));
  return target;
}

}  // namespace stasis
