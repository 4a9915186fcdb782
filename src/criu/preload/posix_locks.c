// Loaded into CRIU (LD_PRELOAD). Where STASIS_POSIX_LOCKS names a file, CRIU restores, and the file has the
// record locks of the restored processes (criu/posix_locks.h). Each takes its own once more (inner_calls.h),
// when nothing is closed any more: struct flock stands in the last bytes of its vdso meanwhile, which are put
// back.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hooks.h"
#include "inner_calls.h"

#ifdef __x86_64__

static const char* locks_path;

// A copy: CRIU overwrites its environment, to show what it does in its command line.
__attribute__((constructor)) static void read_path(void) {
  const char* path = getenv("STASIS_POSIX_LOCKS");
  if (path == NULL) return;
  locks_path = strdup(path);
  if (locks_path == NULL) abort();
}

enum { WORDS = sizeof(struct flock) / sizeof(long) };

struct owner {
  struct inner_caller caller;
  long process;       // 0: there is none
  long words[WORDS];  // that were where struct flock is
};

static uint64_t room_of(const struct owner* owner) { return owner->caller.vdso_end - sizeof(struct flock); }

static bool read_words(struct owner* owner) {
  for (size_t i = 0; i < WORDS; ++i) {
    const uint64_t at = room_of(owner) + i * sizeof(long);
    if (syscall(SYS_ptrace, (long)PTRACE_PEEKDATA, (long)owner->caller.thread, at, &owner->words[i]) != 0)
      return false;
  }
  return true;
}

static bool write_words(const struct owner* owner, const void* bytes) {
  long words[WORDS];
  memcpy(words, bytes, sizeof words);
  for (size_t i = 0; i < WORDS; ++i) {
    const uint64_t at = room_of(owner) + i * sizeof(long);
    if (syscall(SYS_ptrace, (long)PTRACE_POKEDATA, (long)owner->caller.thread, at, words[i]) != 0)
      return false;
  }
  return true;
}

static bool lock(struct owner* owner, long descriptor, const struct flock* what) {
  const uint64_t arguments[5] = {(uint64_t)descriptor, F_SETLK, room_of(owner)};
  long result;
  if (!write_words(owner, what) || !inner_call(&owner->caller, SYS_fcntl, arguments, &result)) return false;
  errno = (int)-result;
  return result == 0;
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

static bool begin(struct owner* owner, const pid_t* threads, size_t count, long process) {
  owner->process = process;
  const pid_t leader = find_leader(threads, count, process);
  return leader != 0 && begin_inner_calls(&owner->caller, leader) && read_words(owner);
}

static bool end(const struct owner* owner) {
  return owner->process == 0 || (write_words(owner, owner->words) && end_inner_calls(&owner->caller));
}

bool restore_posix_locks(const pid_t* threads, size_t count) {
  FILE* file = locks_path == NULL ? NULL : fopen(locks_path, "re");
  if (file == NULL) return true;
  bool all = true;
  struct owner owner = {0};
  long process, descriptor;
  int type;
  int64_t start, length;
  while (all && fscanf(file, "%ld %ld %d %" SCNd64 " %" SCNd64, &process, &descriptor, &type, &start,
                       &length) == 5) {
    const struct flock what = {
        .l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    if (process != owner.process) all = end(&owner) && begin(&owner, threads, count, process);
    all = all && lock(&owner, descriptor, &what);
    if (!all)
      dprintf(STDERR_FILENO, "stasis: process %ld does not get its lock on descriptor %ld back: %m\n",
              process, descriptor);
  }
  fclose(file);
  return all && end(&owner);
}

#else
bool restore_posix_locks(const pid_t* threads, size_t count) {
  (void)threads, (void)count;
  return true;
}
#endif
