#define _GNU_SOURCE
#include "inner_calls.h"

#ifdef __x86_64__
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "linux/interrupted_wait.h"

enum {
  AT_SYSTEM_CALL = SIGTRAP | 0x80,
  MOST_VDSO = 1 << 20,
  OPTIONS = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD,
};

// Not by our own ptrace(2), which stands between CRIU and its threads.
static long trace(long request, pid_t thread, uintptr_t address, const void* data) {
  return syscall(SYS_ptrace, request, (long)thread, address, data);
}

static bool get_registers(const struct inner_caller* caller, struct user_regs_struct* registers) {
  const struct iovec area = {registers, sizeof *registers};
  return trace(PTRACE_GETREGSET, caller->thread, NT_PRSTATUS, &area) == 0 &&
         area.iov_len == sizeof *registers;
}

static bool set_registers(const struct inner_caller* caller, const struct user_regs_struct* registers) {
  const struct iovec area = {(void*)registers, sizeof *registers};
  return trace(PTRACE_SETREGSET, caller->thread, NT_PRSTATUS, &area) == 0;
}

static uint64_t find_instruction(const struct inner_caller* caller, uint64_t begin, uint64_t end) {
  if (end <= begin || end - begin > MOST_VDSO) return 0;
  const size_t size = end - begin;
  unsigned char* code = malloc(size);
  if (code == NULL) return 0;
  const bool read = pread(caller->memory, code, size, (off_t)begin) == (ssize_t)size;
  const unsigned char* found = read ? memmem(code, size, "\x0f\x05", 2) : NULL;
  const uint64_t at = found == NULL ? 0 : begin + (uint64_t)(found - code);
  free(code);
  return at;
}

static bool find_places(struct inner_caller* caller) {
  char line[512];
  snprintf(line, sizeof line, "/proc/%d/maps", (int)caller->thread);
  FILE* maps = fopen(line, "re");
  if (maps == NULL) return false;
  while ((caller->instruction == 0 || caller->room == 0) && fgets(line, sizeof line, maps) != NULL) {
    unsigned long begin, end, inode;
    char allowed[5];
    if (sscanf(line, "%lx-%lx %4s %*s %*s %lu", &begin, &end, allowed, &inode) != 4) continue;
    if (strstr(line, " [vdso]\n") != NULL) caller->instruction = find_instruction(caller, begin, end);
    if (caller->room == 0 && strcmp(allowed, "rw-p") == 0 && inode == 0 &&
        pread(caller->memory, caller->there, INNER_ROOM, (off_t)begin) == INNER_ROOM)
      caller->room = begin;
  }
  fclose(maps);
  errno = ENOEXEC;
  return caller->instruction != 0 && caller->room != 0;
}

static void keep_sequence(struct inner_caller* caller) {
  struct __ptrace_rseq_configuration rseq = {0};
  if (trace(PTRACE_GET_RSEQ_CONFIGURATION, caller->thread, sizeof rseq, &rseq) != sizeof rseq) return;
  const uint64_t at = rseq.rseq_abi_pointer + 8;  // rseq_cs
  if (rseq.rseq_abi_pointer == 0) return;
  if (pread(caller->memory, &caller->sequence, sizeof caller->sequence, (off_t)at) == sizeof caller->sequence)
    caller->sequence_at = at;
}

bool begin_inner_calls(struct inner_caller* caller, pid_t thread) {
  *caller = (struct inner_caller){.thread = thread};
  caller->memory = StasisOpenMemory(thread);
  if (caller->memory < 0) return false;
  const uint64_t all = UINT64_MAX;
  bool ready = get_registers(caller, &caller->registers);
  if (ready && !StasisIs64Bit(&caller->registers)) {
    errno = ENOEXEC;
    ready = false;
  }
  ready = ready && find_places(caller) &&
          trace(PTRACE_GETSIGMASK, thread, sizeof caller->blocked, &caller->blocked) == 0 &&
          trace(PTRACE_SETOPTIONS, thread, 0, (void*)(uintptr_t)(OPTIONS | PTRACE_O_SUSPEND_SECCOMP)) == 0 &&
          trace(PTRACE_SETSIGMASK, thread, sizeof all, &all) == 0;
  if (ready) {
    keep_sequence(caller);
  } else {
    const int error = errno;
    close(caller->memory);
    errno = error;
  }
  return ready;
}

bool inner_write(const struct inner_caller* caller, const void* bytes, size_t size) {
  return pwrite(caller->memory, bytes, size, (off_t)caller->room) == (ssize_t)size;
}

bool inner_read(const struct inner_caller* caller, void* bytes, size_t size) {
  return pread(caller->memory, bytes, size, (off_t)caller->room) == (ssize_t)size;
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
  if (!set_registers(caller, &registers) || !go_on(caller) || !go_on(caller) ||
      !get_registers(caller, &registers))
    return false;
  *result = (long)registers.rax;
  return true;
}

bool end_inner_calls(struct inner_caller* caller) {
  const pid_t thread = caller->thread;
  const size_t size = sizeof caller->sequence;
  const bool ended =
      inner_write(caller, caller->there, INNER_ROOM) &&
      (caller->sequence_at == 0 ||
       pwrite(caller->memory, &caller->sequence, size, (off_t)caller->sequence_at) == (ssize_t)size) &&
      set_registers(caller, &caller->registers) &&
      trace(PTRACE_SETSIGMASK, thread, sizeof caller->blocked, &caller->blocked) == 0 &&
      trace(PTRACE_SETOPTIONS, thread, 0, (void*)(uintptr_t)OPTIONS) == 0 &&
      (!caller->was_stopped || syscall(SYS_tgkill, (long)thread, (long)thread, (long)SIGSTOP) == 0);
  const int error = errno;
  close(caller->memory);
  errno = error;
  return ended;
}
#endif
