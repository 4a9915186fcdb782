// Loaded into CRIU (LD_PRELOAD). Where STASIS_POSIX_LOCKS names a file, CRIU restores, and the file has the
// record locks of the restored processes (criu/posix_locks.h). Only a process itself can take such a lock. So
// once all of them stand still, at the end of the last system call that CRIU has them make, with their own
// registers and memory, the first thread of each calls fcntl(2): by the system call that is in its vdso, with
// struct flock in the vdso's last bytes, which are put back. Nothing is delivered to it meanwhile: its
// signals are blocked, and SIGSTOP, which cannot be, is sent to it once more.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hooks.h"

#ifdef __x86_64__

static const char* locks_path;

// A copy: CRIU overwrites its environment, to show what it does in its command line.
__attribute__((constructor)) static void read_path(void) {
  const char* path = getenv("STASIS_POSIX_LOCKS");
  if (path == NULL) return;
  locks_path = strdup(path);
  if (locks_path == NULL) abort();
}

enum { WORDS = sizeof(struct flock) / sizeof(long), CODE_64_BIT = 0x33 };

// A process that makes a call for us, and what it had before.
struct caller {
  pid_t thread;
  uint64_t instruction;  // syscall, in its vdso
  uint64_t room;         // for a struct flock
  long words[WORDS];     // that were there
  struct user_regs_struct registers;
  uint64_t blocked;  // signals
  bool stopped;      // by SIGSTOP
};

// Not through our own ptrace(2), which stands between CRIU and its threads. PTRACE_PEEKDATA's word goes to
// `data`.
static long trace(long request, pid_t thread, uint64_t address, void* data) {
  return syscall(SYS_ptrace, request, (long)thread, address, data);
}

static bool find_vdso(pid_t thread, uint64_t* begin, uint64_t* end) {
  char path[64], line[512];
  snprintf(path, sizeof path, "/proc/%d/maps", (int)thread);
  FILE* maps = fopen(path, "re");
  if (maps == NULL) return false;
  bool found = false;
  while (!found && fgets(line, sizeof line, maps) != NULL)
    found = strstr(line, " [vdso]") != NULL && sscanf(line, "%" SCNx64 "-%" SCNx64, begin, end) == 2;
  fclose(maps);
  errno = ENOEXEC;
  return found;
}

static bool find_instruction(struct caller* caller) {
  uint64_t begin, end;
  if (!find_vdso(caller->thread, &begin, &end)) return false;
  caller->room = end - sizeof(struct flock);
  for (uint64_t at = begin; at < end; at += sizeof(long) - 1) {  // words that overlap by a byte
    unsigned char bytes[sizeof(long)];
    if (at + sizeof bytes > end) break;
    if (trace(PTRACE_PEEKDATA, caller->thread, at, bytes) != 0) return false;
    for (size_t i = 0; i + 1 < sizeof bytes; ++i) {
      if (bytes[i] != 0x0f || bytes[i + 1] != 0x05) continue;
      caller->instruction = at + i;
      return true;
    }
  }
  errno = ENOEXEC;
  return false;
}

static bool prepare(struct caller* caller, pid_t thread) {
  *caller = (struct caller){.thread = thread};
  if (trace(PTRACE_GETREGS, thread, 0, &caller->registers) != 0) return false;
  errno = ENOEXEC;
  if (caller->registers.cs != CODE_64_BIT || !find_instruction(caller)) return false;
  for (size_t i = 0; i < WORDS; ++i) {
    if (trace(PTRACE_PEEKDATA, thread, caller->room + i * sizeof(long), &caller->words[i]) != 0) return false;
  }
  const uint64_t all = UINT64_MAX;
  return trace(PTRACE_GETSIGMASK, thread, sizeof caller->blocked, &caller->blocked) == 0 &&
         trace(PTRACE_SETSIGMASK, thread, sizeof all, (void*)&all) == 0 &&
         // A filter of the program's is not asked.
         trace(PTRACE_SETOPTIONS, thread, 0,
               (void*)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_SUSPEND_SECCOMP)) == 0;
}

static bool write_words(const struct caller* caller, const void* bytes) {
  long words[WORDS];
  memcpy(words, bytes, sizeof words);
  for (size_t i = 0; i < WORDS; ++i) {
    const uint64_t at = caller->room + i * sizeof(long);
    if (trace(PTRACE_POKEDATA, caller->thread, at, (void*)words[i]) != 0) return false;
  }
  return true;
}

// To the beginning or the end of a system call.
static bool go_on(struct caller* caller) {
  for (;;) {
    int status;
    if (trace(PTRACE_SYSCALL, caller->thread, 0, NULL) != 0) return false;
    pid_t stopped;
    do stopped = (pid_t)syscall(SYS_wait4, (long)caller->thread, &status, (long)__WALL, NULL);
    while (stopped < 0 && errno == EINTR);
    errno = ESRCH;
    if (stopped < 0 || !WIFSTOPPED(status)) return false;
    if (WSTOPSIG(status) == (SIGTRAP | 0x80)) return true;
    if (WSTOPSIG(status) == SIGSTOP) caller->stopped = true;
  }
}

static bool lock(struct caller* caller, long descriptor, const struct flock* what) {
  struct user_regs_struct registers = caller->registers;
  registers.rip = caller->instruction;
  registers.rax = SYS_fcntl;
  registers.orig_rax = UINT64_MAX;
  registers.rdi = (uint64_t)descriptor;
  registers.rsi = F_SETLK;
  registers.rdx = caller->room;
  if (!write_words(caller, what) || trace(PTRACE_SETREGS, caller->thread, 0, &registers) != 0 ||
      !go_on(caller) || !go_on(caller) || trace(PTRACE_GETREGS, caller->thread, 0, &registers) != 0)
    return false;
  errno = -(int)registers.rax;
  return registers.rax == 0;
}

static bool put_back(struct caller* caller) {
  return write_words(caller, caller->words) &&
         trace(PTRACE_SETREGS, caller->thread, 0, &caller->registers) == 0 &&
         trace(PTRACE_SETSIGMASK, caller->thread, sizeof caller->blocked, &caller->blocked) == 0 &&
         (!caller->stopped || kill(caller->thread, SIGSTOP) == 0);
}

// The first thread of the process that the container knows by this number.
static pid_t find_leader(const pid_t* threads, size_t count, long process) {
  for (size_t i = 0; i < count; ++i) {
    long its_process, its_own;
    if (numbers_inside(threads[i], &its_process, &its_own) && its_process == process && its_own == process)
      return threads[i];
  }
  errno = ESRCH;
  return 0;
}

bool restore_posix_locks(const pid_t* threads, size_t count) {
  FILE* file = locks_path == NULL ? NULL : fopen(locks_path, "re");
  if (file == NULL) return true;
  bool all = true;
  struct caller caller = {0};
  long process, descriptor, calling = 0;
  int type;
  int64_t start, length;
  while (all && fscanf(file, "%ld %ld %d %" SCNd64 " %" SCNd64, &process, &descriptor, &type, &start,
                       &length) == 5) {
    const struct flock what = {
        .l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    if (process != calling) {
      const pid_t leader = find_leader(threads, count, process);
      all = (calling == 0 || put_back(&caller)) && leader != 0 && prepare(&caller, leader);
      calling = process;
    }
    all = all && lock(&caller, descriptor, &what);
    if (!all)
      dprintf(STDERR_FILENO, "stasis: process %ld does not get its lock on descriptor %ld back: %m\n",
              process, descriptor);
  }
  if (all && calling != 0) all = put_back(&caller);
  fclose(file);
  return all;
}

#else
bool restore_posix_locks(const pid_t* threads, size_t count) {
  (void)threads, (void)count;
  return true;
}
#endif
