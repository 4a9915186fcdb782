// Loaded into CRIU (LD_PRELOAD). CRIU asks for the limits of every process by prlimit64, which needs
// CAP_SYS_RESOURCE for processes of another user; root of a sandbox or a CI runner often lacks it, and the
// whole dump fails ("Can't get rlimit 0: Operation not permitted"). The same numbers stand in
// /proc/PID/limits for root to read, so an EPERM is answered from there. Everything else goes through as it
// is.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hooks.h"

#define EXPORTED __attribute__((visibility("default")))

// The kernel's struct for prlimit64: 64 bits on every architecture.
struct limit64 {
  uint64_t soft;
  uint64_t hard;
};

// By RLIMIT_* number, the first column of /proc/PID/limits (proc(5)); as long as the longest name, then
// blanks.
static const char* const kNames[] = {
    "Max cpu time",       "Max file size",     "Max data size",         "Max stack size",
    "Max core file size", "Max resident set",  "Max processes",         "Max open files",
    "Max locked memory",  "Max address space", "Max file locks",        "Max pending signals",
    "Max msgqueue size",  "Max nice priority", "Max realtime priority", "Max realtime timeout",
};
enum { kNameColumn = 26 };

static uint64_t parse_limit(const char* text) {
  return strcmp(text, "unlimited") == 0 ? UINT64_MAX : strtoull(text, NULL, 10);
}

// 0 where the limit was found.
static int limit_from_proc(pid_t pid, unsigned resource, struct limit64* limit) {
  char path[64];
  char line[256];
  int found = -1;
  if (resource >= sizeof kNames / sizeof *kNames) return -1;
  snprintf(path, sizeof path, "/proc/%d/limits", (int)pid);
  FILE* file = fopen(path, "re");
  if (file == NULL) return -1;
  while (found != 0 && fgets(line, sizeof line, file) != NULL) {
    char soft[32];
    char hard[32];
    if (strncmp(line, kNames[resource], strlen(kNames[resource])) != 0 || strlen(line) <= kNameColumn)
      continue;
    if (sscanf(line + kNameColumn, "%31s %31s", soft, hard) != 2) break;
    limit->soft = parse_limit(soft);
    limit->hard = parse_limit(hard);
    found = 0;
  }
  fclose(file);
  return found;
}

syscall_function next_syscall(void) {
  static syscall_function next;
  if (next == NULL) {
    // ISO C knows no cast from an object pointer to a function pointer; POSIX says the copy is right.
    void* symbol = dlsym(RTLD_NEXT, "syscall");
    memcpy(&next, &symbol, sizeof next);
  }
  return next;
}

static long get_limits(long pid, long resource, long new_limit, long old_limit) {
  long result = next_syscall()(SYS_prlimit64, pid, resource, new_limit, old_limit);
  if (result == 0 || errno != EPERM || new_limit != 0 || old_limit == 0) return result;
  if (limit_from_proc((pid_t)pid, (unsigned)resource, (struct limit64*)old_limit) == 0) return 0;
  errno = EPERM;
  return -1;
}

// CRIU calls prlimit64 by its number, and so what network.c may answer.
EXPORTED long syscall(long number, ...) {
  long arguments[6];
  va_list list;
  va_start(list, number);
  for (int i = 0; i < 6; i++) arguments[i] = va_arg(list, long);
  va_end(list);
  long result;
  if (network_answers(number, arguments, &result)) return result;
  if (number == SYS_prlimit64) return get_limits(arguments[0], arguments[1], arguments[2], arguments[3]);
  return next_syscall()(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
                        arguments[5]);
}
