// System calls that a restored process makes for us, since it alone can: once CRIU has restored all of them,
// holds them by ptrace, and has not let any go. Until then all of them end with CRIU, so nobody is left with
// a call half made.
//
//   struct inner_caller caller;
//   ok = begin_inner_calls(&caller, thread) && inner_write(&caller, &bytes, sizeof bytes) &&
//        inner_call(&caller, SYS_fcntl, arguments, &result) && ... && end_inner_calls(&caller);
//
// The thread stands at the end of the last system call that CRIU has it make, with the program's own
// registers. It calls by an instruction of its vdso. What the calls read and write lies in memory of its own,
// which is put back, as are its restartable sequence, which the kernel forgets (rseq(2)), and its signals,
// which are blocked meanwhile; SIGSTOP, which cannot be, is sent to it once more. A filter of the program's
// (seccomp(2)) is not asked. 64-bit code only.
#pragma once

#ifdef __x86_64__
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

enum { INNER_ROOM = 32 };

struct inner_caller {
  pid_t thread;
  int memory;            // /proc/THREAD/mem
  uint64_t instruction;  // a syscall
  uint64_t room;         // INNER_ROOM bytes for arguments
  // The program's own, to be put back.
  unsigned char there[INNER_ROOM];
  struct user_regs_struct registers;
  uint64_t blocked;
  uint64_t sequence_at, sequence;  // 0: it has none
  bool was_stopped;                // by SIGSTOP
};

// Each: false where something fails, or the process ends; errno says why. Where begin_inner_calls has failed,
// the process is as it was; after a failure of another one it cannot go on, and the caller ends the restore.
bool begin_inner_calls(struct inner_caller* caller, pid_t thread);
bool inner_write(const struct inner_caller* caller, const void* bytes, size_t size);
bool inner_read(const struct inner_caller* caller, void* bytes, size_t size);
// `result`: as the kernel returns it, a negative errno included.
bool inner_call(struct inner_caller* caller, long number, const uint64_t arguments[5], long* result);
bool end_inner_calls(struct inner_caller* caller);
#endif
