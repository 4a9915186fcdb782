// System calls that a restored process makes for us, since it alone can: once CRIU has restored all of them,
// holds them by ptrace, and has not let any go. Until then all of them end with CRIU, so nobody is left with
// a call half made.
//
//   struct inner_caller caller;
//   ok = begin_inner_calls(&caller, thread) && inner_call(&caller, SYS_prctl, arguments, &result) && ... &&
//        end_inner_calls(&caller);
//
// The thread stands at the end of the last system call that CRIU has it make, with the program's own
// registers. It calls by the instruction that is in its vdso. Its signals are blocked meanwhile; SIGSTOP,
// which cannot be, is sent to it once more at the end. A filter of the program's (seccomp(2)) is not asked.
// 64-bit code only.
#pragma once

#ifdef __x86_64__
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

struct inner_caller {
  pid_t thread;
  struct user_regs_struct registers;  // the program's
  uint64_t blocked;                   // signals
  uint64_t instruction;               // syscall, in its vdso
  uint64_t vdso_end;
  bool was_stopped;  // by SIGSTOP
};

// Each: false where ptrace(2) fails, or the process ends; errno says why. Of a failed one the process cannot
// go on.
bool begin_inner_calls(struct inner_caller* caller, pid_t thread);
// `result`: as the kernel returns it, a negative errno included.
bool inner_call(struct inner_caller* caller, long number, const uint64_t arguments[5], long* result);
bool end_inner_calls(const struct inner_caller* caller);
#endif
