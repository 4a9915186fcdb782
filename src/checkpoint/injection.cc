#include "checkpoint/injection.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "linux/files.h"
#include "linux/interrupted_wait.h"
#include "linux/memory_mapping.h"
#include "linux/proc.h"
#include "linux/wait_clock.h"

// What is written into the process: the call, then all that was changed for it is put back. It touches
// neither stack nor flags: a system call keeps the flags, and mov, lea and jrcxz change none.
asm(R"(
  .pushsection .rodata
  .balign 16
  .globl stasis_injected_call, stasis_injected_clone, stasis_injected_name, stasis_injected_slots
stasis_injected_call:
  syscall
  jmp 1f
  .balign 16
stasis_injected_clone:
  syscall
  mov %rax, %rcx
  jrcxz 2f
  jmp 1f
2:
  mov $231, %eax  # exit_group
  mov $0, %edi
  syscall
1:
  mov $14, %eax  # rt_sigprocmask
  mov $2, %edi   # SIG_SETMASK
  lea stasis_injected_slots+8*16(%rip), %rsi
  mov $0, %edx
  mov $8, %r10d
  syscall
  mov stasis_injected_slots+8*0(%rip), %r15
  mov stasis_injected_slots+8*1(%rip), %r14
  mov stasis_injected_slots+8*2(%rip), %r13
  mov stasis_injected_slots+8*3(%rip), %r12
  mov stasis_injected_slots+8*4(%rip), %rbp
  mov stasis_injected_slots+8*5(%rip), %rbx
  mov stasis_injected_slots+8*6(%rip), %r11
  mov stasis_injected_slots+8*7(%rip), %r10
  mov stasis_injected_slots+8*8(%rip), %r9
  mov stasis_injected_slots+8*9(%rip), %r8
  mov stasis_injected_slots+8*10(%rip), %rax
  mov stasis_injected_slots+8*11(%rip), %rcx
  mov stasis_injected_slots+8*12(%rip), %rdx
  mov stasis_injected_slots+8*13(%rip), %rsi
  mov stasis_injected_slots+8*14(%rip), %rdi
  jmp *stasis_injected_slots+8*15(%rip)
stasis_injected_name:
  .asciz "stasis-twin"
  .balign 8
stasis_injected_slots:
  .popsection
)");

extern "C" {
extern const unsigned char stasis_injected_call[];
extern const unsigned char stasis_injected_clone[];
extern const unsigned char stasis_injected_name[];
extern const unsigned char stasis_injected_slots[];
}

namespace stasis::checkpoint {
namespace {

constexpr char kVdso[] = "[vdso]";
constexpr uint64_t kNoSystemCall = ~0ULL;  // as orig_rax: nothing to be made again
constexpr uint64_t kAllSignals = ~0ULL;
constexpr uint64_t kOptionsOfCaller =
    PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACESYSGOOD | PTRACE_O_SUSPEND_SECCOMP;
constexpr uint64_t kOptionsOfTwin = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_SUSPEND_SECCOMP;

// In the order of the code above.
struct Slots {
  uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, rip;
  uint64_t blocked_signals;
  // From before the registers are set until they are set back. Where the tracer died in between nobody can
  // say when the thread is through: a signal handler may run on top of the code. Last, so written last.
  uint64_t in_use;
};

size_t CodeSize() { return static_cast<size_t>(stasis_injected_slots - stasis_injected_call); }
constexpr size_t kAlignment = 16;
size_t WholeSize() { return (CodeSize() + sizeof(Slots) + kAlignment - 1) & ~(kAlignment - 1); }

StatusOr<AddressRange> FindVdso(pid_t process) {
  STASIS_ASSIGN_OR_RETURN(const std::vector<MemoryMapping> mappings, ReadMemoryMappings(process));
  for (const MemoryMapping& mapping : mappings) {
    if (mapping.name == kVdso) return mapping.range;
  }
  return FailedPrecondition("process " + std::to_string(process) + " has no vdso");
}

// Room for our code in the zeros at the end of `vdso`, after the places that dead tracers have left in use.
StatusOr<size_t> FindRoom(const std::string& vdso, std::vector<uint64_t>* abandoned) {
  const std::string code(reinterpret_cast<const char*>(stasis_injected_call), CodeSize());
  for (size_t at = 0; (at = vdso.find(code, at)) != vdso.npos; at += WholeSize()) {
    if (at + WholeSize() > vdso.size()) break;
    Slots slots;
    std::memcpy(&slots, vdso.data() + at + CodeSize(), sizeof slots);
    if (slots.in_use == 0) return at;
    abandoned->push_back(at);
  }
  const size_t end = vdso.size() - STASIS_TIMES_LEFT_SIZE;  // what is behind it is interrupted_wait.h's
  const size_t last = vdso.find_last_not_of('\0', end - 1);
  const size_t room = last == vdso.npos ? end : (last + 2 * kAlignment) & ~(kAlignment - 1);
  if (room + WholeSize() > end) return FailedPrecondition("no room behind the vdso");
  return room;
}

Slots ToSlots(const user_regs_struct& r, uint64_t blocked_signals) {
  return {r.r15, r.r14, r.r13, r.r12, r.rbp, r.rbx, r.r11, r.r10,           r.r9,
          r.r8,  r.rax, r.rcx, r.rdx, r.rsi, r.rdi, r.rip, blocked_signals, 1};
}

void TakeSlots(const Slots& slots, user_regs_struct& r) {
  std::tie(r.r15, r.r14, r.r13, r.r12, r.rbp, r.rbx, r.r11, r.r10) =
      std::tie(slots.r15, slots.r14, slots.r13, slots.r12, slots.rbp, slots.rbx, slots.r11, slots.r10);
  std::tie(r.r9, r.r8, r.rax, r.rcx, r.rdx, r.rsi, r.rdi, r.rip) =
      std::tie(slots.r9, slots.r8, slots.rax, slots.rcx, slots.rdx, slots.rsi, slots.rdi, slots.rip);
}

// The kernel makes an interrupted call again as it returns to the program; our code has to do so where it
// returns to that. (Also where a signal's handler runs first: who holds the thread leaves it to the kernel,
// which knows.)
void RestartInterruptedCall(user_regs_struct& registers) {
  constexpr uint64_t kSyscallLength = 2;
  if (static_cast<int64_t>(registers.orig_rax) >= 0) {
    switch (-static_cast<int64_t>(registers.rax)) {
      case STASIS_RESTART_SYS:
      case STASIS_RESTART_NO_INTR:
      case STASIS_RESTART_NO_HAND:
        registers.rax = registers.orig_rax;
        registers.rip -= kSyscallLength;
        break;
      case STASIS_RESTART_BLOCK:
        registers.rax = SYS_restart_syscall;
        registers.rip -= kSyscallLength;
        break;
    }
  }
  registers.orig_rax = kNoSystemCall;
}

}  // namespace

StatusOr<Injection> Injection::Prepare(pid_t process) {
  STASIS_ASSIGN_OR_RETURN(const AddressRange range, FindVdso(process));
  STASIS_ASSIGN_OR_RETURN(UniqueFd memory, OpenFile(ProcPath(process, "mem"), O_RDWR));
  std::string vdso(range.size(), '\0');
  if (::pread(memory.get(), vdso.data(), vdso.size(), static_cast<off_t>(range.begin)) !=
      static_cast<ssize_t>(vdso.size()))
    return ErrnoError(errno, "read the vdso of " + std::to_string(process));
  std::vector<uint64_t> abandoned;
  STASIS_ASSIGN_OR_RETURN(const size_t room, FindRoom(vdso, &abandoned));
  for (uint64_t& place : abandoned) place += range.begin;
  return Injection(std::move(memory), range.begin + room, std::move(abandoned));
}

Status Injection::Settle(TracedThread& thread) const {
  STASIS_ASSIGN_OR_RETURN(user_regs_struct registers, thread.Registers());
  for (const uint64_t place : abandoned_) {
    if (registers.rip - place >= CodeSize()) continue;
    Slots slots = {};
    if (::pread(memory_.get(), &slots, sizeof slots, static_cast<off_t>(place + CodeSize())) != sizeof slots)
      return ErrnoError(errno, "read the registers of " + std::to_string(thread.id()));
    TakeSlots(slots, registers);
    registers.orig_rax = kNoSystemCall;
    STASIS_RETURN_IF_ERROR(thread.SetBlockedSignals(slots.blocked_signals));
    STASIS_RETURN_IF_ERROR(thread.SetRegisters(registers));
    return Release(memory_, place);
  }
  return absl::OkStatus();
}

StatusOr<Injection::Place> Injection::Look(const TracedThread& thread) {
  Place place;
  STASIS_ASSIGN_OR_RETURN(place.registers, thread.Registers());
  if (!StasisIs64Bit(&place.registers))
    return FailedPrecondition("thread " + std::to_string(thread.id()) + " runs 32-bit code");
  STASIS_ASSIGN_OR_RETURN(place.blocked_signals, thread.BlockedSignals());
  // The kernel forgets a restartable sequence, since it sees our code instead; so it is aborted here.
  STASIS_ASSIGN_OR_RETURN(const uint64_t abort, thread.RestartableSequenceAbort(place.registers.rip));
  if (abort != 0) place.registers.rip = abort;
  return place;
}

Status Injection::Write(const Place& place) const {
  std::string text(reinterpret_cast<const char*>(stasis_injected_call), CodeSize());
  user_regs_struct registers = place.registers;
  RestartInterruptedCall(registers);
  const Slots slots = ToSlots(registers, place.blocked_signals);
  text.append(reinterpret_cast<const char*>(&slots), sizeof slots);
  return Annotate(WriteAllAt(memory_.get(), text, address_), "write behind the vdso");
}

Status Injection::Release(const UniqueFd& memory, uint64_t place) {
  const uint64_t in_use = 0;
  const std::string_view bytes(reinterpret_cast<const char*>(&in_use), sizeof in_use);
  return Annotate(WriteAllAt(memory.get(), bytes, place + CodeSize() + offsetof(Slots, in_use)),
                  "write behind the vdso");
}

// Each order below matters: wherever we die, what runs on is the code, and the slots are true.
StatusOr<int64_t> Injection::Run(TracedThread& thread, const SystemCall& call, uint64_t entry, pid_t* clone,
                                 Deadline deadline) {
  STASIS_ASSIGN_OR_RETURN(const Place place, Look(thread));
  STASIS_RETURN_IF_ERROR(Write(place));
  user_regs_struct registers = place.registers;
  registers.rip = address_ + entry;
  registers.rax = call.number;
  registers.orig_rax = kNoSystemCall;
  std::tie(registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9) =
      std::tuple_cat(call.arguments);
  STASIS_RETURN_IF_ERROR(thread.SetRegisters(registers));
  // A handler would run in the midst of the code.
  STASIS_RETURN_IF_ERROR(thread.SetBlockedSignals(kAllSignals));
  bool stopped = false;
  for (int seen = 0; seen < 2;) {  // the call's entry, and its exit
    STASIS_RETURN_IF_ERROR(thread.ContinueToSystemCall());
    STASIS_ASSIGN_OR_RETURN(const TracedThread::Stop stop, thread.AwaitStop(deadline));
    if (stop.AtSystemCall()) ++seen;
    if (stop.AtSignal() && stop.signal == SIGSTOP) stopped = true;
    if (stop.event == PTRACE_EVENT_CLONE || stop.event == PTRACE_EVENT_FORK) {
      STASIS_ASSIGN_OR_RETURN(*clone, thread.NewThread());
    }
  }
  STASIS_ASSIGN_OR_RETURN(const user_regs_struct after, thread.Registers());
  STASIS_RETURN_IF_ERROR(thread.SetBlockedSignals(place.blocked_signals));
  STASIS_RETURN_IF_ERROR(thread.SetRegisters(place.registers));
  STASIS_RETURN_IF_ERROR(Release(memory_, address_));
  if (stopped) static_cast<void>(::syscall(SYS_tkill, thread.id(), SIGSTOP));
  return static_cast<int64_t>(after.rax);
}

StatusOr<int64_t> Injection::Call(TracedThread& thread, const SystemCall& call, Deadline deadline) {
  pid_t none = 0;
  return Run(thread, call, 0, &none, deadline);
}

Status Injection::Rename(TracedThread& thread, Deadline deadline) {
  const auto name = address_ + static_cast<uint64_t>(stasis_injected_name - stasis_injected_call);
  return Call(thread, {.number = SYS_prctl, .arguments = {PR_SET_NAME, name}}, deadline).status();
}

StatusOr<Injection::Twin> Injection::Clone(TracedThread& thread, Deadline deadline) {
  pid_t clone = 0;
  const auto entry = static_cast<uint64_t>(stasis_injected_clone - stasis_injected_call);
  STASIS_ASSIGN_OR_RETURN(const int64_t returned,
                          Run(thread, {.number = SYS_clone}, entry, &clone, deadline));
  if (returned < 0) return ErrnoError(static_cast<int>(-returned), "clone " + std::to_string(thread.id()));
  if (clone <= 0) return Internal("clone " + std::to_string(thread.id()) + ": the copy is not traced");
  Twin twin = {TracedThread::Adopt(clone), static_cast<pid_t>(returned)};
  STASIS_RETURN_IF_ERROR(twin.thread.AwaitStop(deadline).status());
  STASIS_RETURN_IF_ERROR(twin.thread.SetOptions(kOptionsOfTwin));
  // It was copied in the midst of the call. Its place is ours, as it is: some kernels have room for one only.
  STASIS_ASSIGN_OR_RETURN(const UniqueFd memory, OpenFile(ProcPath(clone, "mem"), O_WRONLY));
  STASIS_RETURN_IF_ERROR(Release(memory, address_));
  return twin;
}

void KillTwin(TracedThread& twin) {
  constexpr std::chrono::seconds kEnd{5};  // for it to be gone
  const pid_t id = twin.id();
  if (id == 0) return;
  ::kill(id, SIGKILL);
  const Deadline deadline = After(kEnd);
  // kNotFound: it has ended, and we have waited for it. Before that it may stop once more.
  while (twin.AwaitStop(deadline).ok()) twin.Continue().IgnoreError();
}

StatusOr<StoppedCaller> StoppedCaller::Stop(pid_t process, Deadline deadline) {
  const std::optional<BegunWait> begun = WaitClock().Look(process);
  STASIS_ASSIGN_OR_RETURN(TracedThread thread, TracedThread::Seize(process, kOptionsOfCaller));
  STASIS_RETURN_IF_ERROR(thread.Interrupt());
  STASIS_RETURN_IF_ERROR(thread.AwaitHalt(deadline));
  STASIS_RETURN_IF_ERROR(
      thread.GoOnWaiting(begun && begun->WasStopped() ? std::optional(begun->began) : std::nullopt));
  STASIS_ASSIGN_OR_RETURN(Injection injection, Injection::Prepare(process));
  STASIS_RETURN_IF_ERROR(injection.Settle(thread));
  return StoppedCaller{std::move(thread), std::move(injection)};
}

}  // namespace stasis::checkpoint
