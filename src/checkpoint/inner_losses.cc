#include "checkpoint/inner_losses.h"

#include <asm/prctl.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "linux/files.h"
#include "linux/memory_mapping.h"
#include "linux/proc.h"

namespace stasis::checkpoint {
namespace {

constexpr std::chrono::seconds kAsk{2};  // for a thread to stop and to answer

// Younger than the oldest headers that we build with.
constexpr uint64_t kGetNoWriteExecute = 66;                                     // PR_GET_MDWE
constexpr uint64_t kCreateRuleset = 444, kRestrictSelf = 446, kMaxLayers = 16;  // landlock(7)
constexpr uint64_t kMachineCheckDefault = 2;                                    // PR_MCE_KILL_DEFAULT

// Where the copy's memory has eight bytes that are a set of file system rights, as landlock_create_ruleset(2)
// wants them: the ELF header of its vdso says that the program headers are at 64, behind it.
std::optional<uint64_t> FindRights(pid_t copy) {
  constexpr uint64_t kProgramHeaders = 32;  // offset of e_phoff, elf(5)
  const auto mappings = ReadMemoryMappings(copy);
  const auto memory = OpenFile(ProcPath(copy, "mem"), O_RDONLY);
  if (!mappings.ok() || !memory.ok()) return std::nullopt;
  for (const MemoryMapping& mapping : *mappings) {
    if (mapping.name != "[vdso]") continue;
    uint64_t rights = 0;
    const uint64_t at = mapping.range.begin + kProgramHeaders;
    const ssize_t got = ::pread(memory->get(), &rights, sizeof rights, static_cast<off_t>(at));
    if (got == sizeof rights && rights == 64) return at;
  }
  return std::nullopt;
}

// Reaped by the thread that it was copied from.
Status AskCopy(const criu::Process& process, StoppedCaller& caller, Deadline deadline, criu::Losses* losses) {
  STASIS_ASSIGN_OR_RETURN(Injection::Twin copy, caller.injection.Clone(caller.thread, deadline));
  Status status;
  {
    auto injection = Injection::Prepare(copy.thread.id());
    status = injection.ok() ? FindLandlock(process, *injection, copy.thread, deadline, losses)
                            : injection.status();
  }
  KillTwin(copy.thread);
  const SystemCall wait = {
      .number = SYS_wait4,
      .arguments = {static_cast<uint64_t>(copy.inside), 0, static_cast<uint64_t>(__WALL) | WNOHANG, 0}};
  status.Update(caller.injection.Call(caller.thread, wait, deadline).status());
  return status;
}

Status Ask(const criu::Process& process, const InnerFindings& findings) {
  const Deadline deadline = After(kAsk);
  STASIS_ASSIGN_OR_RETURN(StoppedCaller caller, StoppedCaller::Stop(process.pid, deadline));
  STASIS_RETURN_IF_ERROR(FindInnerLosses(process, caller.injection, caller.thread, deadline, findings));
  if (process.may_be_restricted) {
    STASIS_RETURN_IF_ERROR(AskCopy(process, caller, deadline, findings.losses));
  }
  return caller.thread.Detach();
}

}  // namespace

Status FindInnerLosses(const criu::Process& process, Injection& injection, TracedThread& thread,
                       Deadline deadline, const InnerFindings& findings) {
  criu::Losses* const losses = findings.losses;
  const auto ask = [&](uint64_t number, uint64_t first) {
    return injection.Call(thread, {.number = number, .arguments = {first}}, deadline);
  };
  STASIS_ASSIGN_OR_RETURN(const int64_t no_write_execute, ask(SYS_prctl, kGetNoWriteExecute));
  // An older kernel does not know the question.
  findings.protections->Note(process, no_write_execute > 0 ? static_cast<uint64_t>(no_write_execute) : 0);
  STASIS_ASSIGN_OR_RETURN(const int64_t cpuid, ask(SYS_arch_prctl, ARCH_GET_CPUID));
  if (cpuid == 0) {
    losses->Add(process, {criu::kCpuidFaulting,
                          "has CPUID fault (ARCH_SET_CPUID), which it does not any more "
                          "after a restore"});
  }
  STASIS_ASSIGN_OR_RETURN(const int64_t machine_check, ask(SYS_prctl, PR_MCE_KILL_GET));
  if (machine_check >= 0 && static_cast<uint64_t>(machine_check) != kMachineCheckDefault) {
    losses->Add(process, {"",
                          "has a policy of its own for damaged memory (PR_MCE_KILL), which is the default "
                          "again after a restore"});
  }
  return absl::OkStatus();
}

Status FindLandlock(const criu::Process& process, Injection& injection, TracedThread& copy, Deadline deadline,
                    criu::Losses* losses) {
  const std::optional<uint64_t> rights = FindRights(copy.id());
  if (!rights) return FailedPrecondition("no memory in the copy that could be handed to Landlock");
  const auto call = [&](const SystemCall& what) { return injection.Call(copy, what, deadline); };
  // Its descriptors are copies too; there has to be room for one.
  STASIS_RETURN_IF_ERROR(call({.number = SYS_close_range, .arguments = {0, ~0u, 0}}).status());
  STASIS_ASSIGN_OR_RETURN(const int64_t ruleset,
                          call({.number = kCreateRuleset, .arguments = {*rights, sizeof(uint64_t), 0}}));
  if (ruleset < 0) return absl::OkStatus();  // this kernel has no Landlock
  STASIS_RETURN_IF_ERROR(
      call({.number = SYS_prctl, .arguments = {PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0}}).status());
  for (uint64_t layer = 0; layer < kMaxLayers; ++layer) {
    STASIS_ASSIGN_OR_RETURN(const int64_t added, call({.number = kRestrictSelf,
                                                       .arguments = {static_cast<uint64_t>(ruleset), 0}}));
    if (added == -E2BIG) {
      losses->Add(process, {criu::kLandlock,
                            "is under Landlock rules, which are not in force any more after a "
                            "restore"});
    }
    if (added < 0) break;
  }
  return absl::OkStatus();
}

Status FindLossesInside(const std::vector<criu::Process>& processes, const InnerFindings& findings) {
  for (const criu::Process& process : processes) {
    if (process.state == 'Z' || criu::IsStopped(process)) continue;
    criu::FindMemoryLosses(process, process.pid, findings.losses);
    const Status asked = Ask(process, findings);
    if (!absl::IsDeadlineExceeded(asked)) continue;  // it has ended, or cannot be asked
    return Unavailable(criu::Label(process) + " does not come to a stop: checkpoint again");
  }
  return absl::OkStatus();
}

}  // namespace stasis::checkpoint
