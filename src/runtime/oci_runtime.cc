#include "runtime/oci_runtime.h"

#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <utility>

#include "criu/log.h"
#include "criu/posix_locks.h"
#include "criu/protections.h"
#include "criu/restored_timers.h"
#include "criu/thread_settings.h"
#include "criu/verdict.h"
#include "linux/files.h"
#include "linux/mounts.h"

namespace stasis {
namespace {

constexpr size_t kMaxLog = 4 << 20;

std::string DirectoryOf(const std::string& path) { return path.substr(0, path.rfind('/')); }

StatusOr<pid_t> ReadPidFile(const std::string& path) {
  STASIS_ASSIGN_OR_RETURN(std::string text, ReadFile(path, 64));
  pid_t pid = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
  if (error != std::errc() || end != text.data() + text.find_last_not_of('\n') + 1 || pid <= 1) {
    return Internal("the runtime's pid file holds no pid");
  }
  return pid;
}

// What the user did wrong is told apart from what went wrong; the engine makes exit codes 126 and 127 of it.
StatusCode CodeOfRuntimeError(std::string_view message) {
  for (const char* text : {"executable file not found", "no such file or directory", "permission denied",
                           "not a directory", "unable to find user", "is a directory"}) {
    if (message.find(text) != message.npos) return StatusCode::kInvalidArgument;
  }
  if (message.find("does not exist") != message.npos) return StatusCode::kNotFound;
  if (message.find("already exists") != message.npos) return StatusCode::kAlreadyExists;
  return StatusCode::kInternal;
}

}  // namespace

// Owns the files of one run and removes them.
struct OciRuntime::Call {
  std::vector<std::string> argv;
  std::string verb;
  std::string log;
  std::string pid_file;
  std::string process_file;
  std::map<std::string, std::string> environment;

  Call() = default;
  Call(Call&&) = default;
  ~Call() {
    for (const std::string& path : {log, pid_file, process_file}) {
      if (!path.empty()) ::unlink(path.c_str());
    }
  }
  void Add(std::initializer_list<std::string> arguments) {
    argv.insert(argv.end(), arguments.begin(), arguments.end());
  }
  void AddStreams(const OciStreams& streams) {
    if (!streams.console_socket.empty()) Add({"--console-socket", streams.console_socket});
  }
};

OciRuntime::Call OciRuntime::NewCall(std::vector<std::string> arguments) {
  std::string number = std::to_string(++calls_);
  Call call;
  call.verb = arguments.front();
  call.log = options_.work_directory + "/runtime-" + number + ".log";
  call.pid_file = options_.work_directory + "/runtime-" + number + ".pid";
  call.argv = {options_.path, "--root", options_.root, "--log", call.log, "--log-format", "json"};
  call.argv.insert(call.argv.end(), options_.arguments.begin(), options_.arguments.end());
  call.argv.insert(call.argv.end(), arguments.begin(), arguments.end());
  if (!options_.criu.empty()) {
    const char* path = std::getenv("PATH");
    call.environment["PATH"] =
        DirectoryOf(options_.criu) + ":" + (path ? path : "/usr/sbin:/usr/bin:/sbin:/bin");
  }
  return call;
}

Status OciRuntime::RunCall(const Call& call, const OciStreams* streams, const std::string& input,
                           const OciLimits& limits) {
  Command command;
  command.argv = call.argv;
  command.env = BaseEnvironment(call.environment);
  command.input = input;
  // This thread waits for its end. What it has begun is ended by the container's cgroup.
  command.die_with_parent = true;
  ExitStatus exit;
  std::string error_tail;
  if (streams) {
    // The container's streams are the runtime's own: nothing of them may be captured here.
    if (streams->input >= 0) command.fds[0] = streams->input;
    if (streams->output >= 0) command.fds[1] = streams->output;
    if (streams->error >= 0) command.fds[2] = streams->error;
    STASIS_ASSIGN_OR_RETURN(Child child, Spawn(command));
    STASIS_ASSIGN_OR_RETURN(exit, child.Wait(limits.deadline, limits.cancel));
  } else {
    STASIS_ASSIGN_OR_RETURN(CommandResult result,
                            Run(command, {.deadline = limits.deadline, .cancel = limits.cancel}));
    exit = result.exit;
    error_tail = std::move(result.error_tail);
  }
  if (exit.ShellCode() == 0) return {};
  StatusOr<std::string> log = ReadFile(call.log, kMaxLog);
  std::string reason = log.ok() ? LastRuntimeError(*log) : "";
  if (reason.empty()) reason = error_tail.substr(0, error_tail.find('\n'));
  if (reason.empty() && exit.signal) reason = "killed by signal " + std::to_string(exit.signal);
  if (reason.empty()) reason = "exit status " + std::to_string(exit.code) + " without a word";
  return MakeError(CodeOfRuntimeError(reason), reason);
}

StatusOr<pid_t> OciRuntime::Launch(Call call, const OciStreams& streams, const OciLimits& limits) {
  STASIS_RETURN_IF_ERROR(RunCall(call, &streams, "", limits));
  return ReadPidFile(call.pid_file);
}

StatusOr<pid_t> OciRuntime::Create(const std::string& id, const std::string& bundle, bool no_pivot,
                                   const OciStreams& streams, const OciLimits& limits) {
  Call call = NewCall({"create", "--bundle", bundle});
  call.Add({"--pid-file", call.pid_file});
  call.AddStreams(streams);
  if (no_pivot) call.Add({"--no-pivot"});
  call.Add({id});
  return Launch(std::move(call), streams, limits);
}

StatusOr<pid_t> OciRuntime::Exec(const std::string& id, const Json& process, const OciStreams& streams,
                                 const OciLimits& limits) {
  Call call = NewCall({"exec", "--detach"});
  call.process_file = call.pid_file + ".json";
  STASIS_RETURN_IF_ERROR(WriteFileAtomically(call.process_file, DumpJson(process)));
  call.Add({"--process", call.process_file, "--pid-file", call.pid_file});
  call.AddStreams(streams);
  call.Add({id});
  return Launch(std::move(call), streams, limits);
}

StatusOr<pid_t> OciRuntime::Restore(const std::string& id, const std::string& bundle, bool no_pivot,
                                    const OciStreams& streams, const OciRestore& restore,
                                    const OciLimits& limits) {
  STASIS_RETURN_IF_ERROR(MakeDirectories(restore.work));
  std::string log_path = restore.work + "/restore.log";
  STASIS_RETURN_IF_ERROR(RemoveTree(log_path));  // an earlier one would explain this failure wrongly
  Call call = NewCall({"restore", "--detach", "--bundle", bundle, "--manage-cgroups-mode", "ignore"});
  call.Add({"--image-path", restore.images, "--work-path", restore.work, "--pid-file", call.pid_file});
  if (restore.tcp_established) call.Add({"--tcp-established"});
  if (restore.file_locks) call.Add({"--file-locks"});
  if (restore.external_unix_sockets) call.Add({"--ext-unix-sk"});
  if (restore.shell_job) call.Add({"--shell-job"});
  for (const std::string& name : restore.empty_namespaces) call.Add({"--empty-ns", name});
  call.AddStreams(streams);
  if (no_pivot) call.Add({"--no-pivot"});
  call.Add({id});
  call.environment["STASIS_RESTORED_TIMERS"] = restore.images + "/" + criu::kRestoredTimersFile;
  call.environment["STASIS_THREAD_SETTINGS"] = restore.images + "/" + criu::kThreadSettingsFile;
  call.environment["STASIS_POSIX_LOCKS"] = restore.images + "/" + criu::kPosixLocksFile;
  call.environment["STASIS_PROTECTIONS"] = restore.images + "/" + criu::kProtectionsFile;
  call.environment.insert(restore.criu_environment.begin(), restore.criu_environment.end());

  StatusOr<pid_t> pid = Launch(std::move(call), streams, limits);
  if (pid.ok()) return pid;
  StatusOr<criu::Log> log = criu::ReadLog(log_path);
  if (!log.ok() || log->errors.empty()) {
    // runc's words for a connection whose other end has gone.
    if (Message(pid.status()).find("read unixpacket") == std::string::npos) return pid.status();
    return Internal("CRIU was killed, or ended without a word; its log: " + log_path);
  }
  return MakeError(pid.status().code(), criu::ExplainRestore(*log, log_path));
}

Status OciRuntime::Start(const std::string& id, const OciLimits& limits) {
  return RunCall(NewCall({"start", id}), nullptr, "", limits);
}

Status OciRuntime::Update(const std::string& id, const Json& resources, const OciLimits& limits) {
  return RunCall(NewCall({"update", "--resources", "-", id}), nullptr, DumpJson(resources), limits);
}

Status OciRuntime::Delete(const std::string& id, bool force, const OciLimits& limits) {
  // A restore that was killed leaves the mount that runc makes for CRIU ("criu-root") in its state.
  if (force) {
    STASIS_RETURN_IF_ERROR(UnmountBelow(options_.root + "/" + id));
  }
  Call call = NewCall({"delete"});
  if (force) call.Add({"--force"});
  call.Add({id});
  Status status = RunCall(call, nullptr, "", limits);
  return absl::IsNotFound(status) ? Status() : status;
}

std::string LastRuntimeError(std::string_view log) {
  std::string last;
  while (!log.empty()) {
    size_t end = log.find('\n');
    StatusOr<Json> line = ParseJson(log.substr(0, end));
    log.remove_prefix(end == log.npos ? log.size() : end + 1);
    if (!line.ok()) continue;
    std::string level;
    std::string message;
    JsonReader reader(*line);
    reader.Get("level", &level);
    reader.Get("msg", &message);
    if (level == "error" || level == "fatal") last = std::move(message);
  }
  return last;
}

}  // namespace stasis
