#include "criu/processes.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <climits>
#include <map>
#include <optional>

#include "base/log.h"
#include "linux/files.h"
#include "linux/proc.h"

namespace stasis::criu {
namespace {

constexpr size_t kMaxStatus = 64 << 10;

// The blank-separated numbers of a text; stops at what is none.
template <typename Number>
std::vector<Number> Numbers(std::string_view text) {
  std::vector<Number> numbers;
  for (;;) {
    size_t begin = text.find_first_not_of(" \t\n");
    if (begin == text.npos) return numbers;
    text.remove_prefix(begin);
    Number number{};
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc()) return numbers;
    numbers.push_back(number);
    text.remove_prefix(static_cast<size_t>(end - text.data()));
  }
}

// "Name:\tvalue" lines of /proc/PID/status.
std::map<std::string_view, std::string_view> Fields(std::string_view text) {
  std::map<std::string_view, std::string_view> fields;
  while (!text.empty()) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    size_t colon = line.find(":\t");
    if (colon == line.npos) continue;
    fields.emplace(line.substr(0, colon), line.substr(colon + 2));
  }
  return fields;
}

template <typename Number>
std::optional<Number> First(const std::map<std::string_view, std::string_view>& fields,
                            std::string_view name) {
  auto found = fields.find(name);
  if (found == fields.end()) return std::nullopt;
  std::vector<Number> numbers = Numbers<Number>(found->second);
  if (numbers.empty()) return std::nullopt;
  return numbers.front();
}

bool HasCapability(std::string_view hexadecimal, int capability) {
  uint64_t set = 0;
  std::from_chars(hexadecimal.data(), hexadecimal.data() + hexadecimal.size(), set, 16);
  return (set >> capability & 1) != 0;
}

std::string ReadCommand(pid_t pid) {
  auto file = OpenFile(ProcPath(pid, "cmdline"), O_RDONLY);
  if (!file.ok()) return "";
  std::string command(kMaxCommand, '\0');
  ssize_t got = ::read(file->get(), command.data(), command.size());
  command.resize(got > 0 ? static_cast<size_t>(got) : 0);
  while (!command.empty() && command.back() == '\0') command.pop_back();
  std::replace(command.begin(), command.end(), '\0', ' ');
  return Printable(command, kMaxCommand);
}

StatusOr<Process> ReadStatus(pid_t pid, int inside_depth) {
  STASIS_ASSIGN_OR_RETURN(const std::string text, ReadFile(ProcPath(pid, "status"), kMaxStatus));
  return ParseProcessStatus(text, inside_depth);
}

StatusOr<Process> ReadProcess(pid_t pid, int inside_depth) {
  STASIS_ASSIGN_OR_RETURN(Process process, ReadStatus(pid, inside_depth));
  process.command = ReadCommand(pid);
  return process;
}

}  // namespace

StatusOr<pid_t> InnermostPid(pid_t thread) {
  STASIS_ASSIGN_OR_RETURN(const Process process, ReadStatus(thread, INT_MAX));
  return process.inside;
}

StatusOr<Process> ParseProcessStatus(std::string_view text, int inside_depth) {
  auto fields = Fields(text);
  auto pid = First<pid_t>(fields, "Pid");
  auto parent = First<pid_t>(fields, "PPid");
  auto user = First<uint32_t>(fields, "Uid");
  if (!pid || !parent || !user || !fields.contains("NSpid") || !fields.contains("State")) {
    return DataLoss("status of a process: a field is missing");
  }
  std::vector<pid_t> pids = Numbers<pid_t>(fields["NSpid"]);
  if (pids.empty()) return DataLoss("status of a process: NSpid is empty");

  Process process;
  process.pid = *pid;
  process.parent = *parent;
  process.user = *user;
  process.pid_namespaces = static_cast<int>(pids.size());
  process.inside = pids[std::min(pids.size() - 1, static_cast<size_t>(std::max(inside_depth, 0)))];
  process.tracer = First<pid_t>(fields, "TracerPid").value_or(0);
  process.threads = First<int>(fields, "Threads").value_or(0);
  process.resident_bytes = First<uint64_t>(fields, "VmRSS").value_or(0) * 1024;
  process.may_be_restricted =
      First<int>(fields, "NoNewPrivs").value_or(0) == 1 || HasCapability(fields["CapEff"], CAP_SYS_ADMIN);
  if (!fields["State"].empty()) process.state = fields["State"][0];
  process.name = Printable(fields["Name"], 64);
  return process;
}

StatusOr<std::vector<Process>> ReadProcessTree(pid_t init) {
  // Read twice: the first time tells how deep the container lies.
  STASIS_ASSIGN_OR_RETURN(Process root, ReadProcess(init, 0));
  int depth = root.pid_namespaces - 1;
  STASIS_ASSIGN_OR_RETURN(root, ReadProcess(init, depth));

  std::vector<Process> processes = {root};
  for (size_t next = 0; next < processes.size(); ++next) {
    for (pid_t child : ListChildren(processes[next].pid)) {
      if (processes.size() >= kMaxProcesses) {
        return MakeError(StatusCode::kResourceExhausted,
                         "the container has more than " + std::to_string(kMaxProcesses) + " processes");
      }
      auto process = ReadProcess(child, depth);
      if (process.ok()) processes.push_back(*std::move(process));
    }
  }
  // A process whose parent ended in between is found below the init again, as well as where it was.
  std::sort(processes.begin() + 1, processes.end(),
            [](const Process& a, const Process& b) { return a.inside < b.inside; });
  processes.erase(std::unique(processes.begin(), processes.end(),
                              [](const Process& a, const Process& b) { return a.pid == b.pid; }),
                  processes.end());
  return processes;
}

std::string Label(const Process& process) {
  return "process " + std::to_string(process.inside) + " (" + process.name + ")";
}

}  // namespace stasis::criu
