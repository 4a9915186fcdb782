// Loaded into CRIU (LD_PRELOAD). Where STASIS_PROTECTIONS names a file, CRIU restores, and the file says
// which processes forbid themselves memory that can be both written and executed (criu/protections.h;
// PR_SET_MDWE, Linux 6.3). CRIU does not bring that back, and could not make their mappings if it did. So
// each forbids it itself again (inner_calls.h), when all is mapped and before CRIU lets any go.
#define _GNU_SOURCE
#ifdef __x86_64__
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hooks.h"
#include "inner_calls.h"

enum { SET_NO_WRITE_EXECUTE = 65, MOST = 65536 };

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

// `thread` is the first of its process.
static bool protect(pid_t thread, unsigned long flags) {
  const uint64_t arguments[5] = {SET_NO_WRITE_EXECUTE, flags};
  struct inner_caller caller;
  long result;
  if (!begin_inner_calls(&caller, thread) || !inner_call(&caller, SYS_prctl, arguments, &result))
    return false;
  errno = (int)-result;
  return result == 0 && end_inner_calls(&caller);
}

bool restore_protections(const pid_t* threads, size_t thread_count) {
  size_t done = 0;
  for (size_t i = 0; count != 0 && i < thread_count; ++i) {
    long process, inside;
    if (!numbers_inside(threads[i], &process, &inside)) break;
    if (process != inside) continue;
    for (size_t at = 0; at < count; ++at) {
      if (all[at].process == process && protect(threads[i], all[at].flags)) ++done;
    }
  }
  if (done == count) return true;
  dprintf(STDERR_FILENO,
          "stasis: a process cannot be forbidden again memory that can be both written and executed "
          "(PR_SET_MDWE): %m\n");
  return false;
}
#endif
