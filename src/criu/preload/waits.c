// Loaded into CRIU (LD_PRELOAD). A dump that leaves its processes running makes their waits (nanosleep, poll,
// futex with a time-out) end early with EINTR, for two reasons: where CRIU finds a wait that the kernel would
// go on with (ERESTART_RESTARTBLOCK), it sets -EINTR as its result, since a restored process knows nothing of
// the kernel's restart block; and the rt_sigreturn by which its infection leaves a process clears that block.
// Here, between CRIU and ptrace(2), both are put right for the process that runs on: rt_sigreturn is skipped
// (CRIU sets registers and signal mask itself afterwards; the extended state is set here), and instead of
// -EINTR the kernel is told to go on, with its own deadline. What CRIU writes into the images stays as it is.
#define _GNU_SOURCE
#ifdef __x86_64__
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <unistd.h>

#include "hooks.h"

// Of <sys/ptrace.h>, which declares ptrace otherwise than it is defined here.
enum {
  PEEK_TEXT = 1,
  PEEK_USER = 3,
  GET_REGISTERS = 12,
  SET_REGISTERS = 13,
  DETACH = 17,
  TO_SYSTEM_CALL = 24,
  GET_REGISTER_SET = 0x4204,
  SET_REGISTER_SET = 0x4205,
};
enum { SYSCALL_LENGTH = 2, MAX_STATE = 16384 };

#define EXPORTED __attribute__((visibility("default")))

// A thread as CRIU found it.
struct thread {
  struct thread* next;
  pid_t id;
  bool waits;
  uint64_t instruction;
  size_t state_size;
  unsigned char* state;  // extended: floating point and vectors
};

static struct thread* threads;

static long do_ptrace(long request, pid_t id, const void* address, const void* data) {
  return syscall(SYS_ptrace, request, (long)id, address, data);
}

static struct thread* find(pid_t id) {
  struct thread* thread = threads;
  while (thread != NULL && thread->id != id) thread = thread->next;
  return thread;
}

static void forget(pid_t id) {
  for (struct thread** at = &threads; *at != NULL; at = &(*at)->next) {
    struct thread* thread = *at;
    if (thread->id != id) continue;
    *at = thread->next;
    free(thread->state);
    free(thread);
    return;
  }
}

// Its registers are read for the first time.
static void note(pid_t id, const struct user_regs_struct* registers) {
  if (find(id) != NULL) return;
  struct thread* thread = calloc(1, sizeof *thread);
  if (thread == NULL) return;
  thread->id = id;
  thread->next = threads;
  threads = thread;
  if ((int64_t)registers->orig_rax < 0 || (int64_t)registers->rax != -516) return;  // ERESTART_RESTARTBLOCK
  thread->state = malloc(MAX_STATE);
  if (thread->state == NULL) return;
  struct iovec state = {thread->state, MAX_STATE};
  if (do_ptrace(GET_REGISTER_SET, id, (void*)NT_X86_XSTATE, &state) != 0) return;
  thread->state_size = state.iov_len;
  thread->instruction = registers->rip;
  thread->waits = true;
}

// What CRIU is about to set.
static void mend(pid_t id, struct user_regs_struct* registers) {
  const struct thread* thread = find(id);
  if (thread == NULL || !thread->waits) return;
  if ((int64_t)registers->rax != -EINTR || registers->rip != thread->instruction) return;
  registers->rax = SYS_restart_syscall;
  registers->rip -= SYSCALL_LENGTH;
  registers->orig_rax = UINT64_MAX;
}

// At the entry of rt_sigreturn in a thread that waits: it is not made.
static void skip_sigreturn(pid_t id) {
  const struct thread* thread = find(id);
  if (thread == NULL || !thread->waits) return;
  struct user_regs_struct registers;
  struct iovec area = {&registers, sizeof registers};
  if (do_ptrace(GET_REGISTER_SET, id, (void*)NT_PRSTATUS, &area) != 0) return;
  if (registers.orig_rax != SYS_rt_sigreturn || (int64_t)registers.rax != -ENOSYS) return;
  registers.orig_rax = UINT64_MAX;
  do_ptrace(SET_REGISTER_SET, id, (void*)NT_PRSTATUS, &area);
  struct iovec state = {thread->state, thread->state_size};
  do_ptrace(SET_REGISTER_SET, id, (void*)NT_X86_XSTATE, &state);
}

EXPORTED long ptrace(int request, ...) {
  va_list list;
  va_start(list, request);
  const pid_t id = va_arg(list, pid_t);
  void* address = va_arg(list, void*);
  void* data = va_arg(list, void*);
  va_end(list);
  if (!restored_memory_allows(request, id, &data)) return -1;
  if (request >= PEEK_TEXT && request <= PEEK_USER) {  // libc's returns the word
    long word = 0;
    if (do_ptrace(request, id, address, &word) < 0) return -1;
    errno = 0;
    return word;
  }
  const struct iovec* area = data;
  const bool general = address == (void*)NT_PRSTATUS && area != NULL &&
                       (request == GET_REGISTER_SET || request == SET_REGISTER_SET) &&
                       area->iov_len == sizeof(struct user_regs_struct);
  if (request == TO_SYSTEM_CALL) skip_sigreturn(id);
  if (request == DETACH) forget(id);
  if (request == SET_REGISTERS || (general && request == SET_REGISTER_SET)) {
    struct user_regs_struct registers;
    memcpy(&registers, general ? area->iov_base : data, sizeof registers);
    mend(id, &registers);
    struct iovec mended = {&registers, sizeof registers};
    return do_ptrace(request, id, address, general ? (void*)&mended : (void*)&registers);
  }
  const long result = do_ptrace(request, id, address, data);
  if (result == 0 && request == GET_REGISTERS) note(id, data);
  if (result == 0 && general) note(id, area->iov_base);
  return result;
}
#endif
