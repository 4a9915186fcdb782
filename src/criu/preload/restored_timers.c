// Loaded into CRIU (LD_PRELOAD). Where STASIS_RESTORED_TIMERS names a file, CRIU restores, and the file has
// the timers that are armed, if any are (criu/restored_timers.h). CRIU has set the processes' clock early in
// the restore, and armed their timers much later, with the time that was left in the dump. Here, when all
// threads stand still for the last time, each timer is set to what is left by that clock. Timers that have
// run out since CRIU armed them stay as they are; those that should have run out do so at once.
//
// Timers of a process only that process can set: its first thread makes the calls, by a `syscall` of its
// vdso, with what they read and write in memory of its own, and all of it is put back. A process that is to
// stop (SIGSTOP is on its way) keeps the timers that CRIU has armed.
#define _GNU_SOURCE
#ifdef __x86_64__
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hooks.h"
#include "linux/interrupted_wait.h"

enum { MOST = 1 << 20, SCRATCH = 32, SYSTEM_CALL_STOP = SIGTRAP | 0x80, MOST_VDSO = 1 << 20 };

// Of the kernel's linux/timerfd.h, which does not go with <sys/timerfd.h>.
#ifndef TFD_IOC_SET_TICKS
#define TFD_IOC_SET_TICKS _IOW('T', 0, uint64_t)
#endif

struct timer {
  char kind[8];
  long process;  // as the container sees it
  long number;
  int64_t left;
  int64_t period;
};

static const char* timers_path;
static int64_t clock_then;  // in the dump
static struct timer* all;
static size_t count;

// A copy: CRIU overwrites its environment, to show what it does in its command line.
__attribute__((constructor)) static void read_path(void) {
  const char* path = getenv("STASIS_RESTORED_TIMERS");
  if (path == NULL) return;
  timers_path = strdup(path);
  if (timers_path == NULL) abort();
}

void read_timers(void) {
  FILE* file = timers_path == NULL ? NULL : fopen(timers_path, "re");
  if (file == NULL) return;
  struct timer next;
  if (fscanf(file, "clock %" SCNd64, &clock_then) != 1) clock_then = -1;
  while (count < MOST && clock_then >= 0 &&
         fscanf(file, " %7s %ld %ld %" SCNd64 " %" SCNd64, next.kind, &next.process, &next.number, &next.left,
                &next.period) == 5) {
    struct timer* grown = reallocarray(all, count + 1, sizeof *all);
    if (grown == NULL) break;
    all = grown;
    all[count++] = next;
  }
  fclose(file);
}

// ---- clocks

// What a process's CLOCK_MONOTONIC is ahead of the host's; false where that is not to be had.
static bool offset_of(pid_t process, int64_t* offset) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/timens_offsets", (int)process);
  FILE* file = fopen(path, "re");
  if (file == NULL) return false;
  int64_t seconds, nanoseconds;
  const bool read = fscanf(file, "monotonic %" SCNd64 " %" SCNd64, &seconds, &nanoseconds) == 2;
  fclose(file);
  *offset = seconds * STASIS_SECOND + nanoseconds;
  return read;
}

// By the processes' clock, since the dump; `ahead` is what that is ahead of ours.
static int64_t elapsed(int64_t ahead) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  const int64_t since = now.tv_sec * STASIS_SECOND + now.tv_nsec + ahead - clock_then;
  return since > 0 ? since : 0;
}

static int64_t left_of(const struct timer* timer, int64_t ahead) {
  const int64_t left = timer->left - elapsed(ahead);
  return left > 0 ? left : 1;
}

// ---- calls of a process that CRIU holds

struct held {
  pid_t id;
  int memory;
  uint64_t call;     // where a `syscall` is; 0: not known
  uint64_t scratch;  // SCRATCH bytes for arguments
  struct user_regs_struct registers;
  uint64_t blocked;
  unsigned char there[SCRATCH];
  uint64_t sequence_at, sequence;  // of a restartable sequence: the kernel forgets it as we run
  int signal;                      // that came meanwhile
};

static long do_ptrace(long request, pid_t id, uintptr_t address, void* data) {
  return syscall(SYS_ptrace, request, (long)id, address, data);
}

static bool get_registers(const struct held* held, struct user_regs_struct* registers) {
  struct iovec area = {registers, sizeof *registers};
  return do_ptrace(PTRACE_GETREGSET, held->id, NT_PRSTATUS, &area) == 0 && area.iov_len == sizeof *registers;
}

static bool set_registers(const struct held* held, struct user_regs_struct* registers) {
  struct iovec area = {registers, sizeof *registers};
  return do_ptrace(PTRACE_SETREGSET, held->id, NT_PRSTATUS, &area) == 0;
}

static bool is_to_stop(pid_t process) {
  char path[64], line[256];
  snprintf(path, sizeof path, "/proc/%d/status", (int)process);
  FILE* file = fopen(path, "re");
  if (file == NULL) return true;
  uint64_t pending = 0, both = 0;
  while (fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, "SigPnd: %" SCNx64, &pending) == 1) both |= pending;
    if (sscanf(line, "ShdPnd: %" SCNx64, &pending) == 1) both |= pending;
  }
  fclose(file);
  return (both >> (SIGSTOP - 1) & 1) != 0;
}

static uint64_t find_call(const struct held* held, uint64_t begin, uint64_t end) {
  if (end <= begin || end - begin > MOST_VDSO) return 0;
  const size_t size = end - begin;
  unsigned char* code = malloc(size);
  if (code == NULL) return 0;
  const bool read = pread(held->memory, code, size, (off_t)begin) == (ssize_t)size;
  const unsigned char* call = read ? memmem(code, size, "\x0f\x05", 2) : NULL;
  const uint64_t at = call == NULL ? 0 : begin + (uint64_t)(call - code);
  free(code);
  return at;
}

static bool find_places(struct held* held) {
  char line[512];
  snprintf(line, sizeof line, "/proc/%d/maps", (int)held->id);
  FILE* maps = fopen(line, "re");
  if (maps == NULL) return false;
  while ((held->call == 0 || held->scratch == 0) && fgets(line, sizeof line, maps) != NULL) {
    unsigned long begin, end, inode;
    char allowed[5];
    if (sscanf(line, "%lx-%lx %4s %*s %*s %lu", &begin, &end, allowed, &inode) != 4) continue;
    if (strstr(line, " [vdso]\n") != NULL) held->call = find_call(held, begin, end);
    if (held->scratch == 0 && strcmp(allowed, "rw-p") == 0 && inode == 0 &&
        pread(held->memory, held->there, SCRATCH, (off_t)begin) == SCRATCH)
      held->scratch = begin;
  }
  fclose(maps);
  return held->call != 0 && held->scratch != 0;
}

static void keep_sequence(struct held* held) {
  struct __ptrace_rseq_configuration rseq = {0};
  if (do_ptrace(PTRACE_GET_RSEQ_CONFIGURATION, held->id, sizeof rseq, &rseq) != sizeof rseq) return;
  const uint64_t at = rseq.rseq_abi_pointer + 8;  // rseq_cs
  if (rseq.rseq_abi_pointer == 0) return;
  if (pread(held->memory, &held->sequence, sizeof held->sequence, (off_t)at) == sizeof held->sequence)
    held->sequence_at = at;
}

static bool begin(struct held* held) {
  uint64_t none = ~UINT64_C(0);
  held->memory = StasisOpenMemory(held->id);
  if (held->memory < 0) return false;
  if (is_to_stop(held->id) || !get_registers(held, &held->registers) || !StasisIs64Bit(&held->registers) ||
      !find_places(held) ||
      do_ptrace(PTRACE_GETSIGMASK, held->id, sizeof held->blocked, &held->blocked) != 0 ||
      do_ptrace(PTRACE_SETSIGMASK, held->id, sizeof none, &none) != 0) {
    close(held->memory);
    return false;
  }
  keep_sequence(held);
  return true;
}

static void end(struct held* held) {
  if (pwrite(held->memory, held->there, SCRATCH, (off_t)held->scratch) != SCRATCH ||
      (held->sequence_at != 0 && pwrite(held->memory, &held->sequence, sizeof held->sequence,
                                        (off_t)held->sequence_at) != sizeof held->sequence) ||
      !set_registers(held, &held->registers) ||
      do_ptrace(PTRACE_SETSIGMASK, held->id, sizeof held->blocked, &held->blocked) != 0) {
    // It would go on with something of ours.
    dprintf(STDERR_FILENO, "stasis: process %d cannot be put back: %m\n", (int)held->id);
    _exit(1);
  }
  close(held->memory);
  if (held->signal != 0) kill(held->id, held->signal);
}

// To the next entry or exit of a system call.
static bool step(struct held* held) {
  for (int status;;) {
    if (do_ptrace(PTRACE_SYSCALL, held->id, 0, NULL) != 0) return false;
    if (syscall(SYS_wait4, (long)held->id, &status, (long)__WALL, NULL) != held->id || !WIFSTOPPED(status))
      return false;
    if (WSTOPSIG(status) == SYSTEM_CALL_STOP) return true;
    if (status >> 16 == 0 && WSTOPSIG(status) != SIGTRAP) held->signal = WSTOPSIG(status);
  }
}

static bool make_call(struct held* held, long number, uint64_t first, uint64_t second, uint64_t third) {
  struct user_regs_struct registers = held->registers;
  registers.rax = (uint64_t)number;
  registers.orig_rax = UINT64_MAX;
  registers.rip = held->call;
  registers.rdi = first;
  registers.rsi = second;
  registers.rdx = third;
  registers.r10 = 0;
  return set_registers(held, &registers) && step(held) && step(held) && get_registers(held, &registers) &&
         registers.rax == 0;
}

// ---- timers

// `unit` nanoseconds are 1 of the second number of a time.
static void set_of_process(struct held* held, const struct timer* timer, int64_t ahead, long get, long set,
                           long argument, int64_t unit, bool has_flags) {
  int64_t times[4];  // period, then what is left
  const uint64_t at = held->scratch;
  if (!make_call(held, get, (uint64_t)argument, at, 0) ||
      pread(held->memory, times, sizeof times, (off_t)at) != sizeof times || (times[2] | times[3]) == 0)
    return;
  const int64_t left = left_of(timer, ahead) + unit - 1;
  times[2] = left / STASIS_SECOND;
  times[3] = left % STASIS_SECOND / unit;
  if (pwrite(held->memory, times, sizeof times, (off_t)at) != sizeof times) return;
  make_call(held, set, (uint64_t)argument, has_flags ? 0 : at, has_flags ? at : 0);
}

static uint64_t unread_ticks(int file) {
  char path[64], line[128];
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", file);
  FILE* info = fopen(path, "re");
  uint64_t ticks = 0;
  if (info == NULL) return 0;
  while (fgets(line, sizeof line, info) != NULL) {
    if (sscanf(line, "ticks: %" SCNu64, &ticks) == 1) break;
  }
  fclose(info);
  return ticks;
}

static void set_of_file(pid_t process, const struct timer* timer, int64_t ahead) {
  const int handle = (int)syscall(SYS_pidfd_open, (long)process, 0L);
  const int file = handle < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, (long)handle, timer->number, 0L);
  struct itimerspec times;
  if (file >= 0 && timerfd_gettime(file, &times) == 0 &&
      (times.it_value.tv_sec != 0 || times.it_value.tv_nsec != 0)) {
    const uint64_t ticks = unread_ticks(file);
    const int64_t left = left_of(timer, ahead);
    times.it_value = (struct timespec){left / STASIS_SECOND, left % STASIS_SECOND};
    timerfd_settime(file, 0, &times, NULL);
    if (ticks != 0) ioctl(file, TFD_IOC_SET_TICKS, &ticks);
  }
  if (file >= 0) close(file);
  if (handle >= 0) close(handle);
}

static void restore_of(pid_t process, long inside, int64_t ahead) {
  struct held held = {.id = process};
  bool tried = false, ready = false;
  for (size_t i = 0; i < count; ++i) {
    const struct timer* timer = &all[i];
    if (timer->process != inside) continue;
    if (strcmp(timer->kind, "file") == 0) {
      set_of_file(process, timer, ahead);
      continue;
    }
    if (!tried) ready = begin(&held);
    tried = true;
    if (!ready) continue;
    if (strcmp(timer->kind, "real") == 0)
      set_of_process(&held, timer, ahead, SYS_getitimer, SYS_setitimer, ITIMER_REAL, 1000, false);
    else
      set_of_process(&held, timer, ahead, SYS_timer_gettime, SYS_timer_settime, timer->number, 1, true);
  }
  if (ready) end(&held);
}

void restore_timers(const pid_t* threads, size_t number) {
  int64_t own = 0;
  if (count == 0 || !offset_of(getpid(), &own)) return;
  for (size_t i = 0; i < number; ++i) {
    long process, thread;
    int64_t inside;
    if (!numbers_inside(threads[i], &process, &thread) || process != thread) continue;
    if (offset_of(threads[i], &inside)) restore_of(threads[i], process, inside - own);
  }
}
#else
#include "hooks.h"
void read_timers(void) {}
void restore_timers(const pid_t* threads, size_t number) { (void)threads, (void)number; }
#endif
