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

static bool lock(struct inner_caller* owner, long descriptor, const struct flock* what) {
  const uint64_t arguments[5] = {(uint64_t)descriptor, F_SETLK, owner->room};
  long result;
  if (!inner_write(owner, what, sizeof *what) || !inner_call(owner, SYS_fcntl, arguments, &result))
    return false;
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

bool restore_posix_locks(const pid_t* threads, size_t count) {
  FILE* file = locks_path == NULL ? NULL : fopen(locks_path, "re");
  if (file == NULL) return true;
  bool all = true;
  struct inner_caller owner;
  long process, owning = 0, descriptor;
  int type;
  int64_t start, length;
  while (all && fscanf(file, "%ld %ld %d %" SCNd64 " %" SCNd64, &process, &descriptor, &type, &start,
                       &length) == 5) {
    const struct flock what = {
        .l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    if (process != owning) {
      const pid_t leader = find_leader(threads, count, process);
      all = (owning == 0 || end_inner_calls(&owner)) && leader != 0 && begin_inner_calls(&owner, leader);
      owning = process;
    }
    all = all && lock(&owner, descriptor, &what);
    if (!all)
      dprintf(STDERR_FILENO, "stasis: process %ld does not get its lock on descriptor %ld back: %m\n",
              process, descriptor);
  }
  fclose(file);
  return all && (owning == 0 || end_inner_calls(&owner));
}

#else
bool restore_posix_locks(const pid_t* threads, size_t count) {
  (void)threads, (void)count;
  return true;
}
#endif
