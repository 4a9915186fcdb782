#include "criu/log.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <map>
#include <optional>
#include <utility>

#include "base/log.h"
#include "linux/files.h"

namespace stasis::criu {
namespace {

constexpr size_t kMaxTail = 1 << 20;
constexpr size_t kMaxErrorText = 1024;

// Errors after which CRIU goes on.
constexpr std::string_view kHarmless[] = {
    "Can't setup RLIMIT_NOFILE for self",  // without CAP_SYS_RESOURCE
    "cgroupd: recv req error",             // its helper at the end of every failed restore
};

// Errors that only say that an earlier one was one.
struct Consequence {
  std::string_view begin;
  std::string_view end;
};
constexpr Consequence kConsequences[] = {
    {"Dump ", "failed"},
    {"Dumping ", "failed"},
    {"Collect ", "failed with"},
    {"Can't infect ", "with parasite"},
    {"Parasite exited with", ""},
    {"RPC client reported", ""},
    {"Unable to open fd=", ""},
    {"Restorer fail", ""},
    {"", "exited, status="},
    {"", "killed by signal 9"},
    // Late in a restore CRIU has removed it already.
    {"mnt: Can't remove the directory /tmp/.criu.mntns.", "No such file"},
};

bool IsHarmless(std::string_view text) {
  for (std::string_view harmless : kHarmless) {
    if (text.find(harmless) != text.npos) return true;
  }
  return false;
}

bool IsConsequence(std::string_view text) {
  for (const Consequence& consequence : kConsequences) {
    if (text.starts_with(consequence.begin) && text.find(consequence.end) != text.npos) return true;
  }
  return false;
}

bool IsEnd(std::string_view text) {
  return text.starts_with("Dumping FAILED") || text.starts_with("Restoring FAILED") ||
         text.starts_with("Pre-dumping FAILED");
}

std::string_view TrimLeft(std::string_view text) {
  size_t begin = text.find_first_not_of(" \t");
  return begin == text.npos ? std::string_view() : text.substr(begin);
}

std::optional<pid_t> LeadingPid(std::string_view text) {
  pid_t pid = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
  if (error != std::errc() || pid <= 0) return std::nullopt;
  return pid;
}

// "(pid: 123" anywhere in a text.
std::optional<pid_t> MentionedPid(std::string_view text) {
  constexpr std::string_view kMark = "(pid: ";
  size_t at = text.find(kMark);
  if (at == text.npos) return std::nullopt;
  return LeadingPid(text.substr(at + kMark.size()));
}

constexpr std::string_view kError = "Error (", kWarning = "Warn  (";

// The error or warning of one line, whichever `mark` begins, or nothing where the line is another one.
std::optional<LogError> ParseLine(std::string_view line, std::string_view mark) {
  std::string_view rest = TrimLeft(line);
  if (rest.starts_with('(')) {  // what helpers of CRIU's write has no time
    size_t stamp = rest.find(')');
    if (stamp == rest.npos) return std::nullopt;
    rest = TrimLeft(rest.substr(stamp + 1));
  }
  // The code that CRIU leaves in the process itself at the end of a restore.
  constexpr std::string_view kInside = "pie: ";
  if (rest.starts_with(kInside)) rest = TrimLeft(rest.substr(kInside.size()));

  LogError error;
  size_t colon = rest.find(": ");
  if (!rest.starts_with(mark) && colon != rest.npos) {
    auto pid = LeadingPid(rest);
    if (!pid) return std::nullopt;
    error.process = *pid;
    rest = TrimLeft(rest.substr(colon + 2));
  }
  if (!rest.starts_with(mark)) return std::nullopt;
  rest.remove_prefix(mark.size());
  size_t end = rest.find("): ");
  if (end == rest.npos) return std::nullopt;
  error.place = Printable(rest.substr(0, end), 128);
  error.text = Printable(TrimLeft(rest.substr(end + 3)), kMaxErrorText);
  return error;
}

// The process that CRIU turns to with this line, in a dump: "Dumping task (pid: 123 comm: sh)".
std::optional<pid_t> ParseTurn(std::string_view line) {
  if (line.find("Dumping task (pid: ") == line.npos) return std::nullopt;
  return MentionedPid(line);
}

// A line in which CRIU says what internet socket it makes again, and for which process:
// "(0.1)   7: inet: \tRestore: family AF_INET ... port 6379 state TCP_LISTEN       src_addr 10.0.0.2".
struct RestoredSocket {
  pid_t process = 0;
  std::string address;
};
std::optional<RestoredSocket> ParseSocket(std::string_view line) {
  constexpr std::string_view kPort = " port ", kAddress = " src_addr ";
  const size_t what = line.find("Restore: family ");
  const size_t stamp = line.find(')');
  if (what == line.npos || stamp == line.npos || stamp > what) return std::nullopt;
  const size_t port = line.find(kPort, what);
  const size_t address = line.find(kAddress, what);
  if (port == line.npos || address == line.npos || port > address) return std::nullopt;
  const std::string_view number = TrimLeft(line.substr(port + kPort.size()));
  const std::string_view host = line.substr(address + kAddress.size());
  RestoredSocket socket;
  socket.process = LeadingPid(TrimLeft(line.substr(stamp + 1))).value_or(0);
  socket.address =
      Printable(host.substr(0, host.find(' ')), 64) + ":" + Printable(number.substr(0, number.find(' ')), 8);
  return socket;
}

void Keep(LogError error, pid_t turn, std::vector<LogError>* kept) {
  if (error.process == 0) error.process = MentionedPid(error.text).value_or(turn);
  if (kept->size() >= kMaxErrors) kept->erase(kept->begin());
  kept->push_back(std::move(error));
}

std::string Cause(const std::vector<LogError>& errors) {
  for (auto error = errors.rbegin(); error != errors.rend(); ++error) {
    if (!IsConsequence(error->text)) return error->text;
  }
  return errors.empty() ? "" : errors.front().text;
}

}  // namespace

Log ParseLog(std::string_view text) {
  Log log;
  pid_t turn = 0;
  std::map<pid_t, std::string> sockets;  // the last of each process
  while (!text.empty() && !log.failed) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    if (auto pid = ParseTurn(line)) turn = *pid;
    if (auto socket = ParseSocket(line)) sockets[socket->process] = std::move(socket->address);
    if (auto warning = ParseLine(line, kWarning)) Keep(*std::move(warning), turn, &log.warnings);
    std::optional<LogError> error = ParseLine(line, kError);
    if (!error || IsHarmless(error->text)) continue;
    if (IsEnd(error->text)) {
      log.failed = true;
      continue;
    }
    if (const auto socket = sockets.find(error->process); socket != sockets.end())
      error->address = socket->second;
    Keep(*std::move(error), turn, &log.errors);
  }
  log.cause = Cause(log.errors);
  return log;
}

StatusOr<Log> ReadLog(const std::string& path) {
  STASIS_ASSIGN_OR_RETURN(UniqueFd file, OpenFile(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  off_t size = ::lseek(file.get(), 0, SEEK_END);
  off_t begin = size > static_cast<off_t>(kMaxTail) ? size - static_cast<off_t>(kMaxTail) : 0;
  if (size < 0 || ::lseek(file.get(), begin, SEEK_SET) < 0) return ErrnoError(errno, "lseek " + path);
  STASIS_ASSIGN_OR_RETURN(std::string text, ReadAll(file.get(), kMaxTail * 2));
  return ParseLog(text);
}

}  // namespace stasis::criu
