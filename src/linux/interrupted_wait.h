/* Waits that the kernel ends with EINTR whenever their thread is stopped (signal(7), "Interruption of system
 * calls and library functions by stop signals"): epoll_wait and its kin. Who stops threads puts that right:
 * they go on waiting, for the time that is left. Plain C, for criu/preload too. x86-64.
 *
 * The thread stands in the kernel's signal path, so the result -ERESTARTNOHAND has the kernel make the call
 * again as it goes on, and still end it with EINTR where a signal's handler is to run. The time that is left
 * goes into the register of the time-out, which the C ABI and all of libc take for lost after a call; where
 * it is the address of a timespec, that is one of ours, at the end of the process's vdso. There are few of
 * these: who gets none waits anew. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/user.h>
#include <unistd.h>

/* Of the kernel's linux/errno.h. */
enum {
  STASIS_RESTART_SYS = 512,
  STASIS_RESTART_NO_INTR = 513,
  STASIS_RESTART_NO_HAND = 514,
  STASIS_RESTART_BLOCK = 516,
};

enum StasisTimeOut {
  STASIS_NOT_ENDED,    /* a call that goes on by itself, or never waits */
  STASIS_NO_TIME_OUT,  /* or one that is the descriptor's (SO_RCVTIMEO): waits anew */
  STASIS_MILLISECONDS, /* in the register; negative: none */
  STASIS_TIMESPEC,     /* its address in the register; 0: none */
};

/* What the call has for a time-out, and in which register. */
static inline enum StasisTimeOut StasisTimeOutOf(struct user_regs_struct* registers,
                                                 unsigned long long** where) {
  *where = NULL;
  switch (registers->orig_rax) {
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
      *where = &registers->r10;
      return STASIS_MILLISECONDS;
    case 441: /* epoll_pwait2 */
    case SYS_semtimedop:
      *where = &registers->r10;
      return STASIS_TIMESPEC;
    case SYS_rt_sigtimedwait:
      *where = &registers->rdx;
      return STASIS_TIMESPEC;
    case SYS_io_getevents:
    case 333: /* io_pgetevents */
      *where = &registers->r8;
      return STASIS_TIMESPEC;
    case SYS_semop:
    case SYS_read:
    case SYS_readv:
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_recvmmsg:
    case SYS_accept:
    case SYS_accept4:
    case SYS_connect:
    case SYS_write:
    case SYS_writev:
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_sendmmsg:
      return STASIS_NO_TIME_OUT;
    default:
      return STASIS_NOT_ENDED;
  }
}

static inline bool StasisIs64Bit(const struct user_regs_struct* registers) {
  return registers->cs == 0x33; /* __USER_CS */
}

/* Whether a stop has ended a wait; then it is told to go on. Nothing is known of its time yet. */
static inline bool StasisGoOnWaiting(struct user_regs_struct* registers) {
  unsigned long long* where;
  if (!StasisIs64Bit(registers) || (int64_t)registers->orig_rax < 0) return false;
  if ((int64_t)registers->rax != -EINTR || StasisTimeOutOf(registers, &where) == STASIS_NOT_ENDED)
    return false;
  registers->rax = (unsigned long long)-STASIS_RESTART_NO_HAND;
  return true;
}

/* A timespec of ours in the process. */
struct StasisTimeLeft {
  int64_t seconds;
  int64_t nanoseconds;
  uint64_t instead_of; /* the program's own */
  uint64_t owner;      /* STASIS_OWNER and the thread */
};
#define STASIS_OWNER (0x57a515ULL << 32)
#define STASIS_SECOND INT64_C(1000000000)
enum { STASIS_TIMES_LEFT = 12, STASIS_TIMES_LEFT_SIZE = STASIS_TIMES_LEFT * sizeof(struct StasisTimeLeft) };

/* Where these are: the end of the vdso. 0: there is none. */
static inline uint64_t StasisTimesLeft(pid_t thread) {
  char line[512];
  snprintf(line, sizeof line, "/proc/%d/maps", thread);
  FILE* maps = fopen(line, "re");
  if (maps == NULL) return 0;
  uint64_t end = 0;
  while (end == 0 && fgets(line, sizeof line, maps) != NULL) {
    unsigned long begin, after;
    if (strstr(line, " [vdso]\n") != NULL && sscanf(line, "%lx-%lx", &begin, &after) == 2) end = after;
  }
  fclose(maps);
  return end == 0 ? 0 : end - STASIS_TIMES_LEFT_SIZE;
}

static inline int StasisOpenMemory(pid_t thread) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/mem", thread);
  return open(path, O_RDWR | O_CLOEXEC);
}

/* Reads them; false where that place holds anything else. */
static inline bool StasisReadTimesLeft(int memory, uint64_t at, struct StasisTimeLeft* all) {
  if (pread(memory, all, STASIS_TIMES_LEFT_SIZE, (off_t)at) != STASIS_TIMES_LEFT_SIZE) return false;
  for (int i = 0; i < STASIS_TIMES_LEFT; ++i) {
    const bool free =
        all[i].owner == 0 && all[i].seconds == 0 && all[i].nanoseconds == 0 && all[i].instead_of == 0;
    if (!free && all[i].owner >> 32 != STASIS_OWNER >> 32) return false;
  }
  return true;
}

/* One that is this thread's, is free, or was that of a thread that has ended; or -1. */
static inline int StasisChooseTimeLeft(pid_t thread, const struct StasisTimeLeft* all) {
  int chosen = -1;
  for (int i = 0; i < STASIS_TIMES_LEFT; ++i) {
    char path[64];
    const pid_t owner = (pid_t)(uint32_t)all[i].owner;
    if (owner == thread) return i;
    snprintf(path, sizeof path, "/proc/%d/task/%d", thread, owner);
    if (chosen < 0 && (owner == 0 || access(path, F_OK) != 0)) chosen = i;
  }
  return chosen;
}

/* The time-out of a wait in nanoseconds; -1: none, or it cannot be read. */
static inline int64_t StasisReadTimeOut(pid_t thread, struct user_regs_struct* registers) {
  unsigned long long* where;
  const enum StasisTimeOut kind = StasisTimeOutOf(registers, &where);
  if (kind == STASIS_MILLISECONDS) {
    const int32_t milliseconds = (int32_t)(uint32_t)*where;
    return milliseconds < 0 ? -1 : milliseconds * INT64_C(1000000);
  }
  if (kind != STASIS_TIMESPEC || *where == 0) return -1;
  const int memory = StasisOpenMemory(thread);
  if (memory < 0) return -1;
  int64_t time[2];
  const bool read = pread(memory, time, sizeof time, (off_t)*where) == sizeof time;
  close(memory);
  const bool valid = read && time[0] >= 0 && time[0] < INT32_MAX && time[1] >= 0 && time[1] < STASIS_SECOND;
  return valid ? time[0] * STASIS_SECOND + time[1] : -1;
}

/* Gives it another one; it keeps what it has where there is no place for that. */
static inline void StasisSetTimeOut(pid_t thread, int64_t nanoseconds, struct user_regs_struct* registers) {
  unsigned long long* where;
  if (StasisTimeOutOf(registers, &where) == STASIS_MILLISECONDS) {
    *where = (uint64_t)((nanoseconds + 999999) / 1000000);
    return;
  }
  const uint64_t at = StasisTimesLeft(thread);
  const int memory = where == NULL || at == 0 ? -1 : StasisOpenMemory(thread);
  if (memory < 0) return;
  struct StasisTimeLeft all[STASIS_TIMES_LEFT];
  const int chosen = StasisReadTimesLeft(memory, at, all) ? StasisChooseTimeLeft(thread, all) : -1;
  if (chosen >= 0) {
    const bool ours = *where - at < STASIS_TIMES_LEFT_SIZE;
    const struct StasisTimeLeft one = {nanoseconds / STASIS_SECOND, nanoseconds % STASIS_SECOND,
                                       ours ? all[chosen].instead_of : *where,
                                       STASIS_OWNER | (uint32_t)thread};
    const uint64_t place = at + (uint64_t)chosen * sizeof one;
    if (pwrite(memory, &one, sizeof one, (off_t)place) == sizeof one) *where = place;
  }
  close(memory);
}

/* What the program itself gave for a time-out: for a checkpoint, since a restored process has no times of
 * ours. */
static inline void StasisForgetTimeLeft(pid_t thread, struct user_regs_struct* registers) {
  unsigned long long* where;
  if (StasisTimeOutOf(registers, &where) != STASIS_TIMESPEC || *where == 0) return;
  const uint64_t at = StasisTimesLeft(thread);
  if (at == 0 || *where - at >= STASIS_TIMES_LEFT_SIZE) return;
  const int memory = StasisOpenMemory(thread);
  if (memory < 0) return;
  struct StasisTimeLeft one;
  if (pread(memory, &one, sizeof one, (off_t)*where) == sizeof one && one.owner >> 32 == STASIS_OWNER >> 32) {
    *where = one.instead_of;
  }
  close(memory);
}

/* Whether a thread is about to make a call again, or to go on with one: the kernel has put it back before its
 * `syscall`, with the number in rax, and it has not run since. So it stands where a freeze follows soon on a
 * thaw. It looks like any other code of the program's; but restart_syscall(2) only the kernel calls, and only
 * a wait of ours has a time that is ours. `call` becomes what the registers are once it is made, `where` the
 * register of its time-out, or NULL. */
static inline bool StasisIsBeforeCall(pid_t thread, const struct user_regs_struct* registers,
                                      struct user_regs_struct* call, unsigned long long** where) {
  *call = *registers;
  call->orig_rax = registers->rax;
  *where = NULL;
  const bool goes_on = registers->rax == SYS_restart_syscall;
  if (!StasisIs64Bit(registers)) return false;
  if (!goes_on && (StasisTimeOutOf(call, where) != STASIS_TIMESPEC || **where == 0)) return false;
  const int memory = StasisOpenMemory(thread);
  if (memory < 0) return false;
  unsigned char code[2] = {0};
  const bool read = pread(memory, code, sizeof code, (off_t)registers->rip) == sizeof code;
  close(memory);
  if (!read || code[0] != 0x0f || code[1] != 0x05) return false;
  call->rip += sizeof code;
  return true;
}

/* A call that the kernel goes on with by restart_syscall(2) has that number instead of its own: which one it
 * was is to be seen from the program's code, or else from the arguments. False: it is not. */
static inline bool StasisFindRestartedCall(pid_t thread, struct user_regs_struct* registers) {
  if (registers->orig_rax != SYS_restart_syscall) return true;
  const int memory = StasisOpenMemory(thread);
  if (memory < 0) return false;
  unsigned char code[7] = {0}; /* mov $NUMBER, %eax; syscall */
  int64_t time[2] = {-1, -1};
  const bool read_code =
      pread(memory, code, sizeof code, (off_t)(registers->rip - sizeof code)) == sizeof code;
  const bool read_time = pread(memory, time, sizeof time, (off_t)registers->rdi) == sizeof time;
  close(memory);
  if (read_code && code[0] == 0xb8 && code[2] == 0 && code[3] == 0 && code[4] == 0 &&
      (code[1] == SYS_poll || code[1] == SYS_nanosleep || code[1] == SYS_futex ||
       code[1] == SYS_clock_nanosleep)) {
    registers->orig_rax = code[1];
    return true;
  }
  const bool pointer = registers->rdi > UINT16_MAX;
  const uint64_t private_wait = registers->rsi & ~256ULL; /* FUTEX_CLOCK_REALTIME */
  if (pointer && (private_wait == 128 || private_wait == 137) && registers->r10 > UINT16_MAX) {
    registers->orig_rax = SYS_futex; /* FUTEX_WAIT or FUTEX_WAIT_BITSET */
  } else if ((pointer && registers->rsi > 0 && registers->rsi < 1 << 20) ||
             (registers->rdi == 0 && registers->rsi == 0 && registers->rdx <= INT32_MAX)) {
    registers->orig_rax = SYS_poll;
  } else if (pointer && read_time && time[0] >= 0 && time[0] < INT32_MAX && time[1] >= 0 &&
             time[1] < STASIS_SECOND) {
    registers->orig_rax = SYS_nanosleep;
  } else if (!pointer && registers->rdi < 16 && registers->rsi == 0 && registers->rdx > INT32_MAX) {
    registers->orig_rax = SYS_clock_nanosleep;
  } else {
    return false;
  }
  return true;
}
