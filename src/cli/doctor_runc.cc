// runc: its version, and a container of busybox made, checkpointed, restored and entered, with the cgroups
// left alone and the clocks those of the container.
#include <fcntl.h>
#include <unistd.h>

#include <utility>

#include "cli/doctor.h"
#include "cli/orphan.h"
#include "criu/log.h"
#include "linux/cgroup.h"
#include "linux/files.h"
#include "linux/namespaces.h"
#include "linux/random_hex.h"
#include "linux/subprocess.h"

namespace stasis::cli {
namespace {

constexpr char kMinRunc[] = "1.3";
constexpr char kRemedy[] = "run scripts/setup, which gets a runc that is good enough";
constexpr char kBusybox[] = "/bin/busybox";
constexpr std::chrono::seconds kLimit(30);  // of each step

RunLimits Limits(const std::stop_token& cancel) {
  RunLimits limits;
  limits.deadline = After(kLimit);
  limits.cancel = cancel;
  return limits;
}

std::string CgroupPath(const std::string& id) { return "/stasis-" + id; }

// The runtime-spec configuration of a container that sleeps. It shares the host's network, so that CRIU has
// none to lock.
Json Configuration(const std::string& id) {
  return {{"ociVersion", "1.0.2"},
          {"process",
           {{"terminal", false},
            {"user", {{"uid", 0}, {"gid", 0}}},
            {"args", {kBusybox, "sleep", "120"}},
            {"env", {"PATH=/bin"}},
            {"cwd", "/"}}},
          {"root", {{"path", "rootfs"}}},
          {"mounts",
           {{{"destination", "/proc"}, {"type", "proc"}, {"source", "proc"}},
            {{"destination", "/dev"},
             {"type", "tmpfs"},
             {"source", "tmpfs"},
             {"options", {"nosuid", "mode=755"}}}}},
          {"linux",
           {{"cgroupsPath", CgroupPath(id)},
            {"namespaces", {{{"type", "pid"}}, {{"type", "mount"}}, {{"type", "ipc"}}, {{"type", "uts"}}}}}}};
}

std::string Directory(const std::string& path) { return path.substr(0, path.rfind('/')); }

class Trial {
 public:
  Trial(std::string runc, std::string criu, std::string directory, std::stop_token cancel)
      : runc_(std::move(runc)),
        criu_(std::move(criu)),
        directory_(std::move(directory)),
        id_("doctor-" + RandomHex(8)),
        cancel_(std::move(cancel)) {}
  ~Trial() {
    cancel_ = {};  // what was made goes, whoever asked the trial to end
    RunRunc({"delete", "--force", id_}).status().IgnoreError();
    EndChildren();
    // Of a container that runc had not finished it knows nothing.
    if (auto cgroup = Cgroup::Open(CgroupPath(id_)); cgroup.ok()) cgroup->Remove().IgnoreError();
  }

  Status Run();

 private:
  Status MakeBundle();
  // The output, or why it failed.
  StatusOr<std::string> RunRunc(std::vector<std::string> arguments, bool keep_output = false);
  // Why the last step of CRIU below runc failed, where its log tells.
  Status WithCriuCause(const Status& status, const std::string& log);
  Status CheckpointAndRestore();
  Status CheckExec(const Orphan& init);

  std::string runc_;
  std::string criu_;
  std::string directory_;
  std::string id_;
  std::stop_token cancel_;
};

Status Trial::MakeBundle() {
  const std::string bin = directory_ + "/bundle/rootfs/bin";
  for (const char* name : {"/proc", "/dev", "/bin"})
    STASIS_RETURN_IF_ERROR(MakeDirectories(directory_ + "/bundle/rootfs" + name, 0755));
  STASIS_ASSIGN_OR_RETURN(std::string busybox, ReadFile(kBusybox));
  STASIS_RETURN_IF_ERROR(WriteFileAtomically(bin + "/busybox", busybox, 0755));
  return WriteFileAtomically(directory_ + "/bundle/config.json", DumpJson(Configuration(id_)));
}

StatusOr<std::string> Trial::RunRunc(std::vector<std::string> arguments, bool keep_output) {
  Command command;
  command.argv = {runc_, "--root", directory_ + "/state", "--log", directory_ + "/runc.log"};
  command.argv.insert(command.argv.end(), arguments.begin(), arguments.end());
  // runc takes the criu that PATH leads to.
  command.env = BaseEnvironment();
  command.env["PATH"] = Directory(criu_) + ":" + command.env["PATH"];
  UniqueFd null;
  if (!keep_output) {  // what it starts keeps these, and a checkpoint wants none of our pipes
    STASIS_ASSIGN_OR_RETURN(null, OpenFile("/dev/null", O_RDWR));
    command.fds = {{1, null.get()}, {2, null.get()}};
  }
  STASIS_ASSIGN_OR_RETURN(CommandResult result, stasis::Run(command, Limits(cancel_)));
  if (result.exit.ShellCode() == 0) return result.output;
  std::string why = ReadFile(directory_ + "/runc.log").value_or("");
  while (!why.empty() && why.back() == '\n') why.pop_back();
  return Internal("runc " + arguments.front() + ": " + why.substr(why.rfind('\n') + 1));
}

Status Trial::WithCriuCause(const Status& status, const std::string& log) {
  if (status.ok()) return status;
  auto parsed = criu::ReadLog(log);
  return parsed.ok() && !parsed->cause.empty() ? Internal(Message(status) + ": criu: " + parsed->cause)
                                               : status;
}

Status Trial::CheckpointAndRestore() {
  const std::string images = directory_ + "/images", work = directory_ + "/work";
  STASIS_RETURN_IF_ERROR(MakeDirectories(work));
  STASIS_RETURN_IF_ERROR(WithCriuCause(RunRunc({"checkpoint", "--image-path", images, "--work-path", work,
                                                "--manage-cgroups-mode", "ignore", id_})
                                           .status(),
                                       work + "/dump.log"));
  return WithCriuCause(RunRunc({"restore", "--detach", "--bundle", directory_ + "/bundle", "--image-path",
                                images, "--work-path", work, "--manage-cgroups-mode", "ignore", "--pid-file",
                                directory_ + "/restored", id_})
                           .status(),
                       work + "/restore.log");
}

// An exec that stays in the host's time namespace sees other clocks than the container's own processes.
Status Trial::CheckExec(const Orphan& init) {
  STASIS_ASSIGN_OR_RETURN(std::string of_exec,
                          RunRunc({"exec", id_, kBusybox, "readlink", "/proc/self/ns/time"}, true));
  STASIS_ASSIGN_OR_RETURN(ino_t of_init, NamespaceInode(init.process().pid(), "time"));
  if (of_exec != "time:[" + std::to_string(of_init) + "]\n")
    return FailedPrecondition("an exec after a restore is in the host's time namespace");
  return absl::OkStatus();
}

Status Trial::Run() {
  STASIS_RETURN_IF_ERROR(MakeBundle());
  STASIS_RETURN_IF_ERROR(RunRunc({"run", "--detach", "--bundle", directory_ + "/bundle", "--pid-file",
                                  directory_ + "/first", id_})
                             .status());
  {
    STASIS_ASSIGN_OR_RETURN(Orphan first, Orphan::FromPidFile(directory_ + "/first"));
    STASIS_RETURN_IF_ERROR(CheckpointAndRestore());
  }
  STASIS_ASSIGN_OR_RETURN(Orphan restored, Orphan::FromPidFile(directory_ + "/restored"));
  return CheckExec(restored);
}

Check CheckVersion(const std::string& runc, bool& usable, const std::stop_token& cancel) {
  Command command;
  command.argv = {runc, "--version"};
  command.env = BaseEnvironment();
  auto result = Run(command, Limits(cancel));
  usable = result.ok() && result->exit.ShellCode() == 0;
  if (!usable) {
    const std::string why = result.ok() ? result->error_tail : Message(result.status());
    return {"runc", Verdict::kFail, runc + " does not run: " + why, kRemedy};
  }
  const std::string version = VersionIn(result->output);
  if (!VersionAtLeast(version, kMinRunc))
    return {"runc", Verdict::kFail, runc + " is " + version + ", older than " + kMinRunc, kRemedy};
  return {"runc", Verdict::kOk, runc + " is " + version};
}

Check CheckTrial(const std::string& runc, const std::string& criu, const std::stop_token& cancel) {
  const std::string name = "runc container";
  if (!Exists(kBusybox))
    return {name, Verdict::kSkipped, std::string("there is no ") + kBusybox,
            "apt-get install busybox-static"};
  auto directory = TemporaryDirectory::Create("/tmp", "stasis-doctor-");
  Status status = directory.ok() ? Trial(runc, criu, directory->path(), cancel).Run() : directory.status();
  if (status.ok())
    return {name, Verdict::kOk, "checkpointed and restored with cgroups left alone; an exec has its clocks"};
  return {name, Verdict::kFail, Message(status), kRemedy};
}

}  // namespace

Checks CheckRunc(const std::string& runc, const std::string& criu, const std::stop_token& cancel) {
  bool usable = false;
  Checks checks = {CheckVersion(runc, usable, cancel)};
  if (usable) checks.push_back(CheckTrial(runc, criu, cancel));
  return checks;
}

}  // namespace stasis::cli
