// CRIU: its version, its own check, and what neither tells: whether our library is loaded into it, and
// whether a process with a TCP connection comes back.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "cli/doctor.h"
#include "cli/doctor_victim.h"
#include "cli/orphan.h"
#include "criu/log.h"
#include "criu/session.h"
#include "linux/cancel.h"
#include "linux/files.h"
#include "linux/subprocess.h"

namespace stasis::cli {
namespace {

constexpr char kMinCriu[] = "4.2";
constexpr char kRemedy[] = "run scripts/setup, which gets a CRIU that is good enough";
constexpr std::chrono::seconds kLimit(30);  // of each step

RunLimits Limits(const std::stop_token& cancel) {
  RunLimits limits;
  limits.deadline = After(kLimit);
  limits.cancel = cancel;
  return limits;
}

// The directory of one trial: images, logs, the FIFO.
class Trial {
 public:
  Trial(std::string criu, std::string directory, std::stop_token cancel)
      : criu_(std::move(criu)),
        directory_(std::move(directory)),
        fifo_path_(directory_ + "/answers"),
        cancel_(std::move(cancel)) {}
  ~Trial() { EndChildren(); }

  Status Run();

 private:
  StatusOr<Child> StartVictim();
  Status Dump(pid_t pid);
  Status Restore();
  Status CriuStep(const std::string& verb, std::vector<std::string> arguments);
  // Waits for the victim's next answer.
  Status Expect(const std::string& answer);

  std::string criu_;
  std::string directory_;
  std::string fifo_path_;
  std::stop_token cancel_;
  UniqueFd fifo_;
};

StatusOr<Child> Trial::StartVictim() {
  STASIS_ASSIGN_OR_RETURN(const std::string self, RealPath("/proc/self/exe"));
  Command victim;
  victim.argv = {self, kVictimCommand, fifo_path_};
  victim.env = BaseEnvironment();
  victim.new_session = true;
  return Spawn(victim);
}

Status Trial::Expect(const std::string& answer) {
  STASIS_RETURN_IF_ERROR(
      Annotate(WaitFor(fifo_.get(), POLLIN, After(std::chrono::seconds(10)), cancel_).status(),
               "the process's answer"));
  std::array<char, 64> bytes{};
  const ssize_t size = ::read(fifo_.get(), bytes.data(), bytes.size());
  if (size <= 0) return ErrnoError(errno, "read the process's answer");
  const std::string got(bytes.data(), static_cast<size_t>(size));
  return got == answer + "\n" ? absl::OkStatus()
                              : Internal("the process answered " + got + " instead of " + answer);
}

Status Trial::CriuStep(const std::string& verb, std::vector<std::string> arguments) {
  const std::string log = verb + ".log";
  Command command;
  command.argv = {criu_,
                  verb,
                  "--images-dir",
                  directory_ + "/images",
                  "--log-file",
                  log,
                  "-v2",
                  "--tcp-established",
                  "--network-lock",
                  "skip",
                  "--manage-cgroups=ignore"};
  command.argv.insert(command.argv.end(), arguments.begin(), arguments.end());
  command.env = BaseEnvironment();
  STASIS_ASSIGN_OR_RETURN(CommandResult result, stasis::Run(command, Limits(cancel_)));
  if (result.exit.ShellCode() == 0) return absl::OkStatus();
  auto parsed = criu::ReadLog(directory_ + "/images/" + log);
  return Internal("criu " + verb + ": " +
                  (parsed.ok() && !parsed->cause.empty() ? parsed->cause : result.error_tail));
}

Status Trial::Dump(pid_t pid) { return CriuStep("dump", {"--tree", std::to_string(pid)}); }

Status Trial::Restore() {
  return CriuStep("restore", {"--restore-detached", "--pidfile", directory_ + "/pid"});
}

Status Trial::Run() {
  STASIS_RETURN_IF_ERROR(MakeDirectories(directory_ + "/images"));
  if (::mkfifo(fifo_path_.c_str(), 0600) < 0) return ErrnoError(errno, "mkfifo");
  // Both ends, so that neither opening nor reading depends on the victim's being there.
  STASIS_ASSIGN_OR_RETURN(fifo_, OpenFile(fifo_path_, O_RDWR | O_NONBLOCK));
  STASIS_ASSIGN_OR_RETURN(Child victim, StartVictim());
  STASIS_RETURN_IF_ERROR(Expect("0"));
  STASIS_RETURN_IF_ERROR(Dump(victim.process().pid()));
  // The dump has killed it; only once it is reaped is its pid free for the restored one.
  STASIS_RETURN_IF_ERROR(victim.Wait(After(kLimit), cancel_).status());
  STASIS_RETURN_IF_ERROR(Restore());
  STASIS_ASSIGN_OR_RETURN(Orphan restored, Orphan::FromPidFile(directory_ + "/pid"));
  STASIS_RETURN_IF_ERROR(restored.process().Signal(SIGUSR1));
  return Expect("1");
}

Check CheckVersion(const std::string& criu, bool& usable, const std::stop_token& cancel) {
  Command command;
  command.argv = {criu, "--version"};
  command.env = BaseEnvironment();
  auto result = Run(command, Limits(cancel));
  usable = result.ok() && result->exit.ShellCode() == 0;
  if (!usable) {
    const std::string why = result.ok() ? result->error_tail : Message(result.status());
    return {"criu", Verdict::kFail, criu + " does not run: " + why, kRemedy};
  }
  const std::string version = VersionIn(result->output);
  if (!VersionAtLeast(version, kMinCriu))
    return {"criu", Verdict::kFail, criu + " is " + version + ", older than " + kMinCriu, kRemedy};
  return {"criu", Verdict::kOk, criu + " is " + version};
}

Check CheckItself(const std::string& criu, const std::stop_token& cancel) {
  Command command;
  command.argv = {criu, "check"};
  command.env = BaseEnvironment();
  auto result = Run(command, Limits(cancel));
  if (result.ok() && result->exit.ShellCode() == 0) return {"criu check", Verdict::kOk, "looks good"};
  return {"criu check", Verdict::kFail, result.ok() ? result->error_tail : Message(result.status()),
          "boot a kernel that has what CRIU names, or take a newer CRIU: scripts/setup"};
}

// The loader goes on without a library that it cannot load. Asked for what it would load, it names it or not.
Status PreloadLoads(const std::string& criu, const std::string& library, const std::stop_token& cancel) {
  Command command;
  command.argv = {criu, "--version"};
  command.env = BaseEnvironment();
  command.env["LD_PRELOAD"] = library;
  command.env["LD_TRACE_LOADED_OBJECTS"] = "1";  // ld.so(8)
  STASIS_ASSIGN_OR_RETURN(const CommandResult result, Run(command, Limits(cancel)));
  if (result.output.find(library + " (0x") != result.output.npos) return absl::OkStatus();
  const bool silent = result.error_tail.empty();
  return FailedPrecondition(library + " is not loaded into " + criu + ": " +
                            (silent ? "is it linked statically?" : result.error_tail));
}

Check CheckPreload(const std::string& criu, const std::stop_token& cancel) {
  const StatusOr<std::string> self = RealPath("/proc/self/exe");
  Status status = self.status();
  if (self.ok())
    status = PreloadLoads(criu, self->substr(0, self->rfind('/') + 1) + criu::kPreloadLibrary, cancel);
  if (status.ok()) return {"criu preload", Verdict::kOk, "our library is loaded into CRIU"};
  return {"criu preload", Verdict::kFail, Message(status),
          "keep the library beside the programs; build it here"};
}

Check CheckTrial(const std::string& criu, const std::stop_token& cancel) {
  auto directory = TemporaryDirectory::Create("/tmp", "stasis-doctor-");
  Status status = directory.ok() ? Trial(criu, directory->path(), cancel).Run() : directory.status();
  if (status.ok()) return {"criu dump, restore", Verdict::kOk, "a process and its TCP connection came back"};
  return {"criu dump, restore", Verdict::kFail, Message(status), kRemedy};
}

}  // namespace

Checks CheckCriu(const std::string& criu, const std::stop_token& cancel) {
  bool usable = false;
  Checks checks = {CheckVersion(criu, usable, cancel)};
  if (!usable) return checks;
  checks.push_back(CheckItself(criu, cancel));
  checks.push_back(CheckPreload(criu, cancel));
  if (Status status = SetChildSubreaper(); !status.ok()) {
    checks.push_back({"criu dump, restore", Verdict::kFail, Message(status), "boot a newer kernel"});
  } else {
    checks.push_back(CheckTrial(criu, cancel));
  }
  return checks;
}

}  // namespace stasis::cli
