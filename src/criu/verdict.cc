#include "criu/verdict.h"

#include "base/log.h"
#include "linux/mounts.h"

namespace stasis::criu {
namespace {

// What stands between two marks in CRIU's words; `open` is cut off with all before it. Empty: not there.
std::string_view Between(std::string_view text, std::string_view open, std::string_view close) {
  size_t begin = text.find(open);
  if (begin == text.npos) return {};
  text.remove_prefix(begin + open.size());
  size_t end = close.empty() ? text.size() : text.find(close);
  return end == text.npos ? std::string_view() : text.substr(0, end);
}

// How a cause is recognised in an error's text, and what is said then. "%s" in `says` is what stood between
// the marks.
struct Cause {
  std::string_view contains;
  std::string_view open;
  std::string_view close;
  std::string_view says;
  bool whole = false;  // of the whole container: no process is named
  StatusCode code = StatusCode::kInternal;
};

constexpr StatusCode kPasses = StatusCode::kUnavailable;

// Begins with the process, "process 7 (node) ", where CRIU's log tells which one it worked on.
constexpr Cause kDumpCauses[] = {
    {"anon_inode:[io_uring]", "", "",
     "holds an io_uring instance, which CRIU cannot save; run the container with Docker's default seccomp "
     "profile, "
     "which makes programs do without"},
    {"anon_inode:[userfaultfd]", "", "",
     "holds a userfaultfd, which CRIU cannot save; checkpoint after it was closed"},
    {"Can't dump nested ", "nested ", " namespace",
     "runs in a namespace (%s) of its own inside the container, which CRIU cannot save; end it first"},
    {"Can't dump file", "(chr ", ")", "has a device (%s) open, whose state CRIU cannot save; close it first"},
    {"Can't dump file", "(anon ", ")", "holds a kernel object (%s) that CRIU cannot save; close it first"},
    {"Can't dump file", "] (", ")", "has a file open of a kind that CRIU cannot save (%s); close it first"},
    {"mapfile link", "", "",
     "has mapped memory that belongs to a kernel object which CRIU cannot save (an io_uring instance, as a "
     "rule); run "
     "the container with Docker's default seccomp profile, which makes programs do without io_uring"},
    {"Can't handle non-regular mapping", "", "",
     "has mapped a device's memory, which CRIU cannot save; end it first"},
    {"found while seizing", "", "",
     "cannot be stopped: it is traced by another (a debugger, strace), or is ending; end the tracer, or try "
     "again",
     false, kPasses},
    {"Unseizable non-zombie", "", "",
     "cannot be stopped: it is traced by another (a debugger, strace); end that first"},
    {"Connected TCP socket", "", "",
     "has an established TCP connection, and this checkpoint was asked for without them; ask for it with "
     "TCP"},
    {"External socket is used", "", "",
     "is connected to a unix socket outside the container, and this checkpoint was asked for without them; "
     "ask for it "
     "with unix sockets"},
    {"Can't dump half of stream unix connection", "", "",
     "is connected by a unix socket to a process outside the container, or to one that docker exec started, "
     "and the connection would not come back; close it first",
     false, kPasses},
    {"without peer", "Unix socket ", " without peer",
     "is connected by a unix socket (%s) to a process outside the container, and the connection would not "
     "come back; close it first",
     false, kPasses},
    {"OOM storing pipe", "", "",
     "the container holds more than 1024 pipes with unread data, and CRIU can save no more; checkpoint again "
     "when some were read",
     true},
    {"dangling tty", "", "",
     "belongs to a terminal outside the container; ask for the checkpoint with shell jobs, or start it "
     "without"},
    {"outside of its pid namespace", "", "",
     "belongs to a session outside the container; ask for the checkpoint with shell jobs"},
    {"Can't lookup mount=", "path=", "",
     "has a file open that lies outside of the container's mounts (%s); close it first"},
    {"Open files on overmounted mounts", "path=", "",
     "has a file open (%s) that another mount covers; close it first"},
    {"Can't dump that handle", "", "",
     "watches a file (inotify) whose path could not be found; end the watch, or checkpoint again"},
    {"Unsupported proto", "", "",
     "has a socket of a protocol that CRIU cannot save; for MPTCP of Go programs set GODEBUG=multipathtcp=0"},
    {"Unknown socket collected", "family ", ")",
     "has a socket of a family (%s) that CRIU cannot save; close it first"},
    {"In-flight connections", "", "",
     "has a TCP connection that nobody has accepted yet; checkpoint again when it has", false, kPasses},
    {"The socket has data to read", "", "",
     "has not read an answer of the kernel yet (netlink); checkpoint again when it has", false, kPasses},
    {"packetized mode for pipes", "", "",
     "holds a pipe in packet mode (O_DIRECT), which CRIU cannot save; close it first"},
    {"Can't create link remap", "for ", ". Use",
     "has a file open (%s) of which this name was removed and another is left (a hard link), which CRIU "
     "cannot "
     "save; close it first"},
    {"Can't make VM id", "", "",
     "shares its memory with another process and is no thread of it (CLONE_VM), which CRIU cannot save; end "
     "it "
     "first"},
    {"Can't make FS id", "", "",
     "shares its working directory with another process (CLONE_FS), which CRIU cannot save; end it first"},
    {"Unsupported socket family", "family: ", "",
     "has a socket of a family (%s) that CRIU cannot save; close it first"},
    {"pending SIGTRAP", "", "", "is being debugged; end the debugger first"},
    {"Zombies with threads", "", "", "is ending just now; checkpoint again", false, kPasses},
    {"uprobes", "", "", "is traced by a uprobe (perf, bpftrace); end that first"},
    {"Unable to freeze cgroup", "", "",
     "the container could not be frozen in time: a process waits in the kernel without interruption (a "
     "hanging disk or "
     "network file "
     "system); checkpoint again when it goes on",
     true},
    {"No space left on device", "", "", "the disk is full; make room where the checkpoint is to lie", true,
     StatusCode::kResourceExhausted},
};

constexpr Cause kRestoreCauses[] = {
    {"has bad size", "File ", " has bad size",
     "the file /%s was changed since the checkpoint: its size has changed"},
    {"has bad build-ID", "File ", " has bad build-ID", "the program /%s was changed since the checkpoint"},
    {"has bad mode", "File ", " has bad mode",
     "the file /%s was changed since the checkpoint: its mode is another"},
    {"on restore: No such file", "Can't open file ", " on restore",
     "the file /%s is missing, which was open at the checkpoint"},
    {"No such file or directory", "Can't open file ", ":",
     "the file /%s is missing, which was open at the checkpoint"},
    {"Can't bind inet socket", "", "",
     "an address of a TCP connection is not free, or not one of this container's: it must come back with the "
     "same "
     "address, and nobody else may use it"},
    {"Can't connect inet socket back", "", "",
     "a TCP connection could not be set up again in the container's network"},
    {"Address already in use", "", "", "an address that the container listened on is in use by another"},
    {"Unable to create a thread: -11", "", "",
     "the container's limit of processes leaves no room for CRIU itself; give it some more"},
    {"Can't chose service_fd_base", "", "",
     "a process uses a descriptor so near to the limit of this machine that CRIU finds no room for its own; "
     "raise the limit (nofile) of the engine"},
    {"Resource temporarily unavailable", "Can't fork for ", ":",
     "the container's limit of processes (pids) leaves no room to restore process %s; give it some more"},
    {"Can't fork for", "for ", ":", "a process number (%s) that the container used is taken"},
    {"doesn't exist", "Network device ", "", "the network device %s is missing"},
    {"capabilities do not match", "", "", "this machine's processor lacks what the checkpoint's had"},
    {"xsave", "", "", "this machine's processor lacks what the checkpoint's had"},
    {"No mapping for", "", "",
     "a mount of the checkpoint is missing: start it in a container with the same mounts"},
    {"Can't find external mount", "", "",
     "a mount of the checkpoint is missing: start it in a container with the same mounts"},
    {"No space left on device", "", "", "the disk is full"},
    {"Cannot allocate memory", "", "",
     "there is not enough memory, or the container's limit is below what it needs"},
};

// Which one, the log has said before.
constexpr std::string_view kAnAddress = "an address";

std::string Fill(std::string_view says, std::string_view detail) {
  std::string out(says);
  size_t at = out.find("%s");
  if (at != out.npos) out.replace(at, 2, Printable(detail, 256));
  return out;
}

struct Found {
  std::string says;
  bool whole = false;
  StatusCode code = StatusCode::kInternal;
};

// The table's words for an error, or nothing.
template <size_t kRows>
std::optional<Found> Look(const Cause (&table)[kRows], std::string_view text) {
  for (const Cause& cause : table) {
    if (text.find(cause.contains) == text.npos) continue;
    std::string_view detail =
        cause.open.empty() ? std::string_view() : Between(text, cause.open, cause.close);
    if (!cause.open.empty() && detail.empty()) continue;
    return Found{Fill(cause.says, detail), cause.whole, cause.code};
  }
  return std::nullopt;
}

std::string Whom(pid_t pid, const std::vector<Process>& processes) {
  for (const Process& process : processes) {
    if (process.pid == pid) return Label(process) + " ";
  }
  return "a process of the container ";
}

std::string Unknown(std::string_view error, const std::string& log_path) {
  std::string text =
      error.empty() ? std::string("CRIU failed and left no reason") : "CRIU: " + Printable(error);
  return text + " (log: " + log_path + ")";
}

}  // namespace

Status ExplainDump(const Log& log, const std::vector<Process>& processes, const std::string& log_path,
                   std::string_view criu_error) {
  for (const LogError& error : log.errors) {
    auto found = Look(kDumpCauses, error.text);
    if (!found) continue;
    return MakeError(found->code, (found->whole ? "" : Whom(error.process, processes)) + found->says);
  }
  return Internal(Unknown(log.cause.empty() ? criu_error : log.cause, log_path));
}

Status ExplainFullDisk(const Status& why, const std::vector<std::string>& directories) {
  for (const std::string& directory : directories) {
    const std::string full = FullFileSystem(directory);
    if (full.empty()) continue;
    return MakeError(StatusCode::kResourceExhausted, "the file system mounted at " + full +
                                                         " is full; make room there (CRIU wrote into " +
                                                         directory + ")");
  }
  return why;
}

std::string ExplainRestore(const Log& log, const std::string& log_path) {
  for (const LogError& error : log.errors) {
    auto found = Look(kRestoreCauses, error.text);
    if (!found) continue;
    if (found->says.starts_with(kAnAddress) && !error.address.empty())
      found->says.replace(0, kAnAddress.size(), "the address " + error.address);
    return found->says;
  }
  return Unknown(log.cause, log_path);
}

}  // namespace stasis::criu
