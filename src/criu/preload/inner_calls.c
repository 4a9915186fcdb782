#define _GNU_SOURCE
#include "inner_calls.h"

#ifdef __x86_64__
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  AT_SYSTEM_CALL = SIGTRAP | 0x80,
  CODE_64_BIT = 0x33,
  OPTIONS = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD
};

// Not by our own ptrace(2), which stands between CRIU and its threads.
static long trace(long request, pid_t thread, uintptr_t address, const void* data) {
  return syscall(SYS_ptrace, request, (long)thread, address, data);
}

static bool find_instruction(struct inner_caller* caller) {
  char name[64], line[512];
  snprintf(name, sizeof name, "/proc/%d/maps", (int)caller->thread);
  FILE* maps = fopen(name, "re");
  if (maps == NULL) return false;
  unsigned long begin = 0, end = 0;
  while (fgets(line, sizeof line, maps) != NULL) {
    if (strstr(line, "[vdso]") != NULL && sscanf(line, "%lx-%lx", &begin, &end) == 2) break;
    begin = end = 0;
  }
  fclose(maps);
  errno = ENOEXEC;
  unsigned char code[16384];
  if (end <= begin || end - begin > sizeof code) return false;
  const struct iovec here = {code, end - begin}, there = {(void*)begin, end - begin};
  if (process_vm_readv(caller->thread, &here, 1, &there, 1, 0) != (ssize_t)(end - begin)) return false;
  const unsigned char* found = memmem(code, end - begin, "\x0f\x05", 2);
  errno = ENOEXEC;
  if (found == NULL) return false;
  caller->instruction = begin + (uint64_t)(found - code);
  caller->vdso_end = end;
  return true;
}

bool begin_inner_calls(struct inner_caller* caller, pid_t thread) {
  *caller = (struct inner_caller){.thread = thread};
  struct iovec area = {&caller->registers, sizeof caller->registers};
  if (trace(PTRACE_GETREGSET, thread, NT_PRSTATUS, &area) != 0) return false;
  errno = ENOEXEC;
  if (area.iov_len != sizeof caller->registers || caller->registers.cs != CODE_64_BIT ||
      !find_instruction(caller))
    return false;
  const uint64_t all = UINT64_MAX;
  return trace(PTRACE_GETSIGMASK, thread, sizeof caller->blocked, &caller->blocked) == 0 &&
         trace(PTRACE_SETSIGMASK, thread, sizeof all, &all) == 0 &&
         trace(PTRACE_SETOPTIONS, thread, 0, (void*)(uintptr_t)(OPTIONS | PTRACE_O_SUSPEND_SECCOMP)) == 0;
}

// To its next system call, or the end of that.
static bool go_on(struct inner_caller* caller) {
  for (;;) {
    int status = 0;
    if (trace(PTRACE_SYSCALL, caller->thread, 0, NULL) != 0) return false;
    while (syscall(SYS_wait4, (long)caller->thread, &status, (long)__WALL, NULL) < 0) {
      if (errno != EINTR) return false;
    }
    errno = ESRCH;
    if (!WIFSTOPPED(status)) return false;
    if (WSTOPSIG(status) == AT_SYSTEM_CALL) return true;
    if (status >> 16 != 0 || WSTOPSIG(status) != SIGSTOP) return false;
    caller->was_stopped = true;
  }
}

bool inner_call(struct inner_caller* caller, long number, const uint64_t arguments[5], long* result) {
  struct user_regs_struct registers = caller->registers;
  registers.rip = caller->instruction;
  registers.rax = (uint64_t)number;
  registers.orig_rax = UINT64_MAX;  // nothing to be made again
  registers.rdi = arguments[0];
  registers.rsi = arguments[1];
  registers.rdx = arguments[2];
  registers.r10 = arguments[3];
  registers.r8 = arguments[4];
  const struct iovec area = {&registers, sizeof registers};
  if (trace(PTRACE_SETREGSET, caller->thread, NT_PRSTATUS, &area) != 0 || !go_on(caller) || !go_on(caller) ||
      trace(PTRACE_GETREGSET, caller->thread, NT_PRSTATUS, &area) != 0)
    return false;
  *result = (long)registers.rax;
  return true;
}

bool end_inner_calls(const struct inner_caller* caller) {
  const pid_t thread = caller->thread;
  const struct iovec area = {(void*)&caller->registers, sizeof caller->registers};
  return trace(PTRACE_SETREGSET, thread, NT_PRSTATUS, &area) == 0 &&
         trace(PTRACE_SETSIGMASK, thread, sizeof caller->blocked, &caller->blocked) == 0 &&
         trace(PTRACE_SETOPTIONS, thread, 0, (void*)(uintptr_t)OPTIONS) == 0 &&
         (!caller->was_stopped || syscall(SYS_tgkill, (long)thread, (long)thread, (long)SIGSTOP) == 0);
}
#endif
