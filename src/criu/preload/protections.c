// Loaded into CRIU (LD_PRELOAD). Where STASIS_PROTECTIONS names a file, CRIU restores, and the file says
// which processes forbid themselves memory that can be both written and executed (criu/protections.h;
// PR_SET_MDWE, Linux 6.3). CRIU does not bring that back, and could not make their mappings if it did. So
// each is made to forbid it again by a call that is put into it, when all is mapped and before CRIU lets any
// go: until then all of them end with CRIU, so nobody is left with a call half made.
#define _GNU_SOURCE
#ifdef __x86_64__
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hooks.h"

enum { SET_NO_WRITE_EXECUTE = 65, MOST = 65536, MASK_SIZE = 8, AT_SYSTEM_CALL = SIGTRAP | 0x80 };

struct protection {
  long process;  // as the container sees it
  unsigned long flags;
};

static const char* path;
static struct protection* all;
static size_t count;

// A copy: CRIU overwrites its environment, to show what it does in its command line.
__attribute__((constructor)) static void read_path(void) {
  const char* named = getenv("STASIS_PROTECTIONS");
  if (named == NULL) return;
  path = strdup(named);
  if (path == NULL) abort();
}

bool read_protections(void) {
  FILE* file = path == NULL ? NULL : fopen(path, "re");
  if (file == NULL) return path == NULL || errno == ENOENT;
  struct protection next;
  int fields = 0;
  while (count < MOST && (fields = fscanf(file, "%ld %lu", &next.process, &next.flags)) == 2) {
    struct protection* grown = reallocarray(all, count + 1, sizeof *all);
    if (grown == NULL) break;
    all = grown;
    all[count++] = next;
  }
  const bool whole = fields == EOF && !ferror(file);
  fclose(file);
  return whole;
}

static long trace(long request, pid_t thread, const void* address, const void* data) {
  return syscall(SYS_ptrace, request, (long)thread, address, data);
}

// Where it has a system call instruction: the kernel's own code in it has some. 0: none was found.
static uint64_t find_system_call(pid_t process) {
  char name[64], line[512];
  snprintf(name, sizeof name, "/proc/%d/maps", (int)process);
  FILE* maps = fopen(name, "re");
  if (maps == NULL) return 0;
  unsigned long begin = 0, end = 0;
  while (fgets(line, sizeof line, maps) != NULL) {
    if (strstr(line, "[vdso]") != NULL && sscanf(line, "%lx-%lx", &begin, &end) == 2) break;
    begin = end = 0;
  }
  fclose(maps);
  unsigned char code[16384];
  if (end <= begin || end - begin > sizeof code) return 0;
  const struct iovec here = {code, end - begin}, there = {(void*)begin, end - begin};
  if (process_vm_readv(process, &here, 1, &there, 1, 0) != (ssize_t)(end - begin)) return 0;
  const unsigned char* found = memmem(code, end - begin, "\x0f\x05", 2);
  return found == NULL ? 0 : begin + (uint64_t)(found - code);
}

// To its next system call, or the end of that. All signals but SIGSTOP are blocked, SIGKILL ends it.
static bool go_on(pid_t thread, bool* was_stopped) {
  for (;;) {
    int status = 0;
    if (trace(PTRACE_SYSCALL, thread, NULL, NULL) != 0) return false;
    while (syscall(SYS_wait4, (long)thread, &status, (long)__WALL, NULL) < 0) {
      if (errno != EINTR) return false;
    }
    if (!WIFSTOPPED(status)) return false;
    if (WSTOPSIG(status) == AT_SYSTEM_CALL) return true;
    if (status >> 16 != 0 || WSTOPSIG(status) != SIGSTOP) return false;
    *was_stopped = true;
  }
}

static bool call(pid_t thread, struct user_regs_struct registers, long* result) {
  struct iovec area = {&registers, sizeof registers};
  bool was_stopped = false;
  if (trace(PTRACE_SETREGSET, thread, (void*)NT_PRSTATUS, &area) != 0) return false;
  if (!go_on(thread, &was_stopped) || !go_on(thread, &was_stopped)) return false;
  if (trace(PTRACE_GETREGSET, thread, (void*)NT_PRSTATUS, &area) != 0) return false;
  *result = (long)registers.rax;
  return !was_stopped || syscall(SYS_tgkill, (long)thread, (long)thread, (long)SIGSTOP) == 0;
}

// `thread` is the first of its process.
static bool protect(pid_t thread, unsigned long flags) {
  struct user_regs_struct found, changed;
  struct iovec area = {&found, sizeof found};
  if (trace(PTRACE_GETREGSET, thread, (void*)NT_PRSTATUS, &area) != 0 || area.iov_len != sizeof found)
    return false;
  changed = found;
  changed.orig_rax = UINT64_MAX;
  changed.rip = find_system_call(thread);
  changed.rax = SYS_prctl;
  changed.rdi = SET_NO_WRITE_EXECUTE;
  changed.rsi = flags;
  changed.rdx = changed.r10 = changed.r8 = 0;
  uint64_t mask = 0;
  const uint64_t blocked = UINT64_MAX;
  // Its filters may not allow it the call.
  const uintptr_t options = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD;
  if (changed.rip == 0 || trace(PTRACE_GETSIGMASK, thread, (void*)MASK_SIZE, &mask) != 0 ||
      trace(PTRACE_SETSIGMASK, thread, (void*)MASK_SIZE, &blocked) != 0 ||
      trace(PTRACE_SETOPTIONS, thread, NULL, (void*)(options | PTRACE_O_SUSPEND_SECCOMP)) != 0)
    return false;
  long result = -1;
  if (!call(thread, changed, &result)) return false;
  if (result < 0) errno = (int)-result;
  return result == 0 && trace(PTRACE_SETREGSET, thread, (void*)NT_PRSTATUS, &area) == 0 &&
         trace(PTRACE_SETSIGMASK, thread, (void*)MASK_SIZE, &mask) == 0 &&
         trace(PTRACE_SETOPTIONS, thread, NULL, (void*)options) == 0;
}

bool restore_protections(const pid_t* threads, size_t thread_count) {
  size_t done = 0;
  for (size_t i = 0; count != 0 && i < thread_count; ++i) {
    long process, inside;
    if (!numbers_inside(threads[i], &process, &inside)) return false;
    if (process != inside) continue;
    for (size_t at = 0; at < count; ++at) {
      if (all[at].process != process) continue;
      errno = 0;
      if (!protect(threads[i], all[at].flags)) return false;
      ++done;
    }
  }
  return done == count;
}
#endif
