#include "supervisor/shim_process.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <utility>

#include "base/json.h"
#include "linux/cancel.h"
#include "linux/cgroup.h"
#include "linux/files.h"
#include "linux/unix_socket.h"
#include "protocol/journal.h"
#include "protocol/restore_directories.h"
#include "runtime/oci_runtime.h"
#include "supervisor/shim_cgroup.h"

namespace stasis::supervisor {
namespace {

constexpr std::chrono::seconds kStartLimit{20};
constexpr std::chrono::seconds kClearLimit{20};
constexpr std::chrono::seconds kReapLimit{5};
constexpr int kReadyDescriptor = 3;

// "R" from the shim's ready pipe, or the error text that it wrote instead.
Status ReadReady(int fd, std::stop_token cancel) {
  std::string text;
  const Deadline deadline = After(kStartLimit);
  while (text.size() < 4096) {
    STASIS_RETURN_IF_ERROR(WaitFor(fd, POLLIN, deadline, cancel).status());
    char buffer[512];
    ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got < 0) return ErrnoError(errno, "read");
    if (got == 0) break;
    text.append(buffer, static_cast<size_t>(got));
    if (text == "R") return {};
  }
  if (text.empty()) return Internal("it ended before it was ready");
  return Internal(text);
}

StatusOr<ProcessIdentity> ReadPidFile(const std::string& directory) {
  STASIS_ASSIGN_OR_RETURN(std::string text, ReadFile(directory + "/" + protocol::kShimPidFile, 256));
  ProcessIdentity identity;
  const char* end = text.data() + text.size();
  auto pid = std::from_chars(text.data(), end, identity.pid);
  if (pid.ec != std::errc() || pid.ptr == end || *pid.ptr != ' ') return DataLoss("shim.pid: not a pid");
  auto time = std::from_chars(pid.ptr + 1, end, identity.start_time);
  if (time.ec != std::errc() || identity.pid <= 1) return DataLoss("shim.pid: not a start time");
  return identity;
}

std::string NameOf(const ProcessIdentity& identity) {
  return std::to_string(identity.pid) + " " + std::to_string(identity.start_time);
}

}  // namespace

StatusOr<ShimProcess> ShimProcess::Start(const std::string& program, const std::string& directory,
                                         std::stop_token cancel) {
  STASIS_ASSIGN_OR_RETURN(Pipe ready, MakePipe());
  Command command{.argv = {program, directory},
                  .env = BaseEnvironment(),
                  .fds = {{kReadyDescriptor, ready.write_end.get()}},
                  .new_session = true,
                  .cgroup_procs_files = ShimCgroupFiles()};
  StatusOr<Child> child = Spawn(command);
  if (!child.ok()) return Annotate(child.status(), "start the shim");
  ready.write_end.reset();
  STASIS_RETURN_IF_ERROR(Annotate(ReadReady(ready.read_end.get(), cancel), "start the shim"));
  STASIS_ASSIGN_OR_RETURN(const ProcessIdentity identity, IdentifyProcess(child->process().pid()));
  return ShimProcess(*std::move(child), std::nullopt, NameOf(identity));
}

StatusOr<ShimProcess> ShimProcess::Find(const std::string& directory) {
  STASIS_ASSIGN_OR_RETURN(const ProcessIdentity identity, ReadPidFile(directory));
  STASIS_ASSIGN_OR_RETURN(ProcessHandle handle, ProcessHandle::Open(identity));
  return ShimProcess(std::nullopt, std::move(handle), NameOf(identity));
}

ShimProcess::~ShimProcess() {
  // Runs on, without us: whoever adopts orphans reaps it.
  if (child_ && !reaped_) std::move(*child_).Detach();
}

Status ShimProcess::WaitEnded(Deadline deadline, std::stop_token cancel) {
  if (reaped_) return {};
  if (!child_) return found_->WaitEnded(deadline, cancel);
  STASIS_RETURN_IF_ERROR(child_->Wait(deadline, cancel).status());
  reaped_ = true;
  return {};
}

bool ShimProcess::Ended() const { return reaped_ || handle().Ended(); }

void ShimProcess::Kill() {
  if (reaped_) return;
  if (child_) {
    child_->Kill();
    reaped_ = true;
  } else {
    found_->Signal(SIGKILL).IgnoreError();  // has ended already
    found_->WaitEnded(After(kReapLimit), {}).IgnoreError();
  }
}

Status ClearAfterShim(const protocol::ShimConfig& config, const std::string& directory) {
  Status result;
  auto note = [&result](const Status& status) {  // each step is tried; the first error is told
    if (result.ok()) result = status;
  };
  // The thaw is part of Cgroup::KillAll.
  note(Annotate(protocol::UndoJournal(directory, {}).status(), "undo the journal"));
  if (StatusOr<Cgroup> cgroup = Cgroup::Open(config.cgroup_path); cgroup.ok()) {
    note(Annotate(cgroup->KillAll(After(kClearLimit)), "kill the container"));
  } else {
    note(cgroup.status());
  }
  OciRuntime runtime({.path = config.runtime,
                      .root = config.runtime_root,
                      .arguments = config.runtime_arguments,
                      .criu = config.criu,
                      .work_directory = directory});
  note(runtime.Delete(config.id, true, {.deadline = After(kClearLimit)}));
  note(Annotate(RemoveTree(protocol::RestoreDirectories::Of(config, directory).images),
                "remove what was unpacked for a restore"));
  return result;
}

protocol::ExitRecord ExitOfDeadShim(const std::string& directory) {
  if (StatusOr<std::string> text = ReadFile(directory + "/" + protocol::kExitFile, 1 << 20); text.ok()) {
    if (StatusOr<Json> json = ParseJson(*text); json.ok()) {
      if (auto record = protocol::ExitRecordFromJson(*json); record.ok()) return *record;
    }
  }
  return {.process = protocol::kInit, .status = 255, .at = absl::Now(), .reason = "shim died"};
}

}  // namespace stasis::supervisor
