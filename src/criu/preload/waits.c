// Loaded into CRIU (LD_PRELOAD). A dump that leaves its processes running makes their waits (nanosleep, poll,
// futex with a time-out, epoll_wait) end early with EINTR, for three reasons: where CRIU finds a wait that
// the kernel would go on with (ERESTART_RESTARTBLOCK), it sets -EINTR as its result, since a restored process
// knows nothing of the kernel's restart block; the rt_sigreturn by which its infection leaves a process
// clears that block; and some waits the kernel itself ends with EINTR whenever their thread is stopped
// (linux/interrupted_wait.h).
//
// Here, between CRIU and ptrace(2), all are put right. What CRIU reads, and so writes into the images, is
// that the call is to be made again: a restored program waits anew. What it sets for a process that runs on
// is what was found, so that the kernel itself goes on with the wait, with its own deadline, or ends it where
// a signal's handler is to run; rt_sigreturn is skipped (CRIU sets registers and signal mask itself
// afterwards; the extended state is set here). Where STASIS_WAITS names a file, it says since when threads
// wait in the last of these ways: lines "THREAD NANOSECONDS" of CLOCK_MONOTONIC. It is written after CRIU's
// start, and before its first ptrace.
#define _GNU_SOURCE
#ifdef __x86_64__
#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <time.h>
#include <unistd.h>

#include "hooks.h"
#include "linux/interrupted_wait.h"

// Of <sys/ptrace.h>, which declares ptrace otherwise than it is defined here.
enum {
  PEEK_TEXT = 1,
  PEEK_USER = 3,
  GET_REGISTERS = 12,
  SET_REGISTERS = 13,
  DETACH = 17,
  SET_OPTIONS = 0x4200,
  TO_SYSTEM_CALL = 24,
  GET_REGISTER_SET = 0x4204,
  SET_REGISTER_SET = 0x4205,
  PEEK_SIGNALS = 0x4209,
};
enum { SYSCALL_LENGTH = 2, MAX_STATE = 16384 };

#define EXPORTED __attribute__((visibility("default")))

// A thread as CRIU found it.
struct thread {
  struct thread* next;
  pid_t id;
  bool waits;     // the kernel would make its call again, or go on with it
  int64_t until;  // of a wait that the kernel has ended, where that is known; else 0
  struct user_regs_struct found;
  struct user_regs_struct shown;  // to CRIU
  struct user_regs_struct goes_on;
  size_t state_size;
  unsigned char* state;  // extended: floating point and vectors; of one with a restart block
};

// By the last digits of their ids: of many threads each is asked for again and again.
enum { LISTS = 4096 };
static struct thread* threads[LISTS];

static struct thread** list_of(pid_t id) { return &threads[(unsigned)id % LISTS]; }

static long do_ptrace(long request, pid_t id, const void* address, const void* data) {
  return syscall(SYS_ptrace, request, (long)id, address, data);
}

static struct thread* find(pid_t id) {
  struct thread* thread = *list_of(id);
  while (thread != NULL && thread->id != id) thread = thread->next;
  return thread;
}

static void forget(pid_t id) {
  for (struct thread** at = list_of(id); *at != NULL; at = &(*at)->next) {
    struct thread* thread = *at;
    if (thread->id != id) continue;
    *at = thread->next;
    free(thread->state);
    free(thread);
    return;
  }
}

// A line of the file; `thread` 0 stands for all that have none.
struct wait {
  pid_t thread;
  int64_t began;
};

static struct wait* waits;
static size_t wait_count;

static int by_thread(const void* one, const void* other) {
  const pid_t a = ((const struct wait*)one)->thread, b = ((const struct wait*)other)->thread;
  return (a > b) - (a < b);
}

static void read_waits(void) {
  static bool read;
  const char* path = getenv("STASIS_WAITS");
  FILE* file = read || path == NULL ? NULL : fopen(path, "re");
  read = true;
  if (file == NULL) return;
  struct wait next;
  while (fscanf(file, "%d %" SCNd64, &next.thread, &next.began) == 2) {
    struct wait* grown = reallocarray(waits, wait_count + 1, sizeof *waits);
    if (grown == NULL) break;
    waits = grown;
    waits[wait_count++] = next;
  }
  fclose(file);
  qsort(waits, wait_count, sizeof *waits, by_thread);
}

static int64_t wait_began(pid_t id) {
  read_waits();
  const struct wait wanted[] = {{id, 0}, {0, 0}};
  for (int i = 0; i < 2 && wait_count != 0; ++i) {
    const struct wait* found = bsearch(&wanted[i], waits, wait_count, sizeof *waits, by_thread);
    if (found != NULL) return found->began;
  }
  return 0;
}

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static bool keep_state(struct thread* thread) {
  thread->state = malloc(MAX_STATE);
  if (thread->state == NULL) return false;
  struct iovec state = {thread->state, MAX_STATE};
  if (do_ptrace(GET_REGISTER_SET, thread->id, (void*)NT_X86_XSTATE, &state) != 0) return false;
  thread->state_size = state.iov_len;
  return true;
}

// A restored one has neither the kernel's restart block nor times of ours: it makes the call as the program
// made it. One that runs on goes on with what it stands before; it has the block, which rt_sigreturn clears.
static bool note_before_call(struct thread* thread) {
  struct user_regs_struct call;
  unsigned long long* time_out;
  if (!StasisIsBeforeCall(thread->id, &thread->found, &call, &time_out)) return false;
  if (call.orig_rax == SYS_restart_syscall) {
    thread->waits = keep_state(thread);
    if (StasisFindRestartedCall(thread->id, &call)) thread->shown.rax = call.orig_rax;
    return true;
  }
  thread->waits = true;
  StasisForgetTimeLeft(thread->id, &call);
  thread->shown = call;
  thread->shown.orig_rax = thread->found.orig_rax;
  thread->shown.rip = thread->found.rip;
  return true;
}

// Its registers are read for the first time.
static struct thread* note(pid_t id, const struct user_regs_struct* registers) {
  struct thread* thread = calloc(1, sizeof *thread);
  if (thread == NULL) return NULL;
  thread->id = id;
  thread->next = *list_of(id);
  *list_of(id) = thread;
  thread->found = thread->shown = thread->goes_on = *registers;
  if (!StasisIs64Bit(registers) || note_before_call(thread)) return thread;
  if ((int64_t)registers->orig_rax < 0) return thread;
  if (StasisGoOnWaiting(&thread->goes_on)) {
    const int64_t began = wait_began(id), all = StasisReadTimeOut(id, &thread->goes_on);
    if (began != 0 && all >= 0) thread->until = began + all;
    thread->shown = thread->goes_on;
  }
  StasisForgetTimeLeft(id, &thread->shown);
  switch (-(int64_t)thread->goes_on.rax) {
    case STASIS_RESTART_SYS:
    case STASIS_RESTART_NO_INTR:
    case STASIS_RESTART_NO_HAND:
      thread->waits = true;
      break;
    case STASIS_RESTART_BLOCK:
      thread->waits = keep_state(thread);
      if (thread->waits && StasisFindRestartedCall(id, &thread->shown))
        thread->shown.rax = (unsigned long long)-STASIS_RESTART_NO_HAND;
      break;
  }
  return thread;
}

static void set_time_left(const struct thread* thread, struct user_regs_struct* registers) {
  if (thread->until == 0) return;
  const int64_t left = thread->until - now();
  StasisSetTimeOut(thread->id, left > 0 ? left : 0, registers);
}

static bool same_place(const struct user_regs_struct* one, const struct user_regs_struct* other) {
  return one->rax == other->rax && one->orig_rax == other->orig_rax && one->rip == other->rip;
}

// A thread that CRIU has just stopped. Its wait goes on even if CRIU dies.
static void stopped(pid_t id) {
  struct user_regs_struct registers;
  struct iovec area = {&registers, sizeof registers};
  if (find(id) != NULL || do_ptrace(GET_REGISTER_SET, id, (void*)NT_PRSTATUS, &area) != 0) return;
  if (area.iov_len != sizeof registers) return;  // 32-bit
  const struct thread* thread = note(id, &registers);
  if (thread == NULL || same_place(&thread->found, &thread->goes_on)) return;
  registers = thread->goes_on;
  set_time_left(thread, &registers);
  do_ptrace(SET_REGISTER_SET, id, (void*)NT_PRSTATUS, &area);
}

// What CRIU has read.
static void present(pid_t id, struct user_regs_struct* registers) {
  const struct thread* thread = find(id);
  if (thread == NULL) thread = note(id, registers);
  if (thread == NULL || !thread->waits) return;
  if (same_place(registers, &thread->found) || same_place(registers, &thread->goes_on))
    *registers = thread->shown;
}

// What CRIU is about to set. Where it was shown a call that is to be made again, it has made that so, or
// -EINTR of it.
static void mend(pid_t id, struct user_regs_struct* registers) {
  const struct thread* thread = find(id);
  if (thread == NULL || !thread->waits) return;
  struct user_regs_struct again = thread->shown, ended = thread->shown;
  again.rax = again.orig_rax;
  again.rip -= SYSCALL_LENGTH;
  ended.rax = (unsigned long long)-EINTR;
  if (!same_place(registers, &thread->shown) && !same_place(registers, &again) &&
      !same_place(registers, &ended))
    return;
  *registers = thread->goes_on;
  set_time_left(thread, registers);
}

// At the entry of rt_sigreturn in a thread with a restart block: it is not made.
static void skip_sigreturn(pid_t id) {
  const struct thread* thread = find(id);
  if (thread == NULL || thread->state_size == 0) return;
  struct user_regs_struct registers;
  struct iovec area = {&registers, sizeof registers};
  if (do_ptrace(GET_REGISTER_SET, id, (void*)NT_PRSTATUS, &area) != 0) return;
  if (registers.orig_rax != SYS_rt_sigreturn || (int64_t)registers.rax != -ENOSYS) return;
  registers.orig_rax = UINT64_MAX;
  do_ptrace(SET_REGISTER_SET, id, (void*)NT_PRSTATUS, &area);
  struct iovec state = {thread->state, thread->state_size};
  do_ptrace(SET_REGISTER_SET, id, (void*)NT_X86_XSTATE, &state);
}

// Of a dump: the one thread that is let go to its next system call. CRIU then waits for anybody's stop, for
// which the kernel looks at all that it holds; nobody else can stop then.
static pid_t let_go;

EXPORTED pid_t wait4(pid_t process, int* status, int options, struct rusage* usage) {
  if (process == -1 && let_go != 0) process = let_go;
  let_go = 0;
  return (pid_t)syscall(SYS_wait4, process, status, options, usage);
}

EXPORTED long ptrace(int request, ...) {
  va_list list;
  va_start(list, request);
  const pid_t id = va_arg(list, pid_t);
  void* address = va_arg(list, void*);
  void* data = va_arg(list, void*);
  va_end(list);
  if (!restore_allows(request, id, &data)) return -1;
  if (request >= PEEK_TEXT && request <= PEEK_USER) {  // libc's returns the word
    long word = 0;
    if (do_ptrace(request, id, address, &word) < 0) return -1;
    errno = 0;
    return word;
  }
  const struct iovec* area = data;
  const bool general = address == (void*)NT_PRSTATUS && area != NULL &&
                       (request == GET_REGISTER_SET || request == SET_REGISTER_SET);
  const size_t size = sizeof(struct user_regs_struct);  // that of a 32-bit thread is less
  if (request == TO_SYSTEM_CALL) {
    skip_sigreturn(id);
    let_go = getenv("STASIS_WAITS") == NULL ? 0 : id;
  }
  if (request == DETACH) {
    forget(id);
    restore_settings(id);
  }
  if (request == SET_REGISTERS || request == SET_REGISTER_SET) look_for_late_signals(id);
  if (request == SET_REGISTERS || (general && request == SET_REGISTER_SET && area->iov_len == size)) {
    struct user_regs_struct registers;
    memcpy(&registers, general ? area->iov_base : data, sizeof registers);
    mend(id, &registers);
    struct iovec mended = {&registers, sizeof registers};
    return do_ptrace(request, id, address, general ? (void*)&mended : (void*)&registers);
  }
  const long result = do_ptrace(request, id, address, data);
  // Others of its process go on already: one that executes, or ends, has ended this thread.
  if (result != 0 && request == DETACH && errno == ESRCH && restored_ones_go_on()) return 0;
  if (request == PEEK_SIGNALS) signals_were_read(id, address, result);
  if (result == 0 && request == SET_OPTIONS) stopped(id);
  if (result == 0 && request == GET_REGISTERS) present(id, data);
  if (result == 0 && general && request == GET_REGISTER_SET && area->iov_len == size)
    present(id, area->iov_base);
  return result;
}
#endif
