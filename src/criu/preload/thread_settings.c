// Loaded into CRIU (LD_PRELOAD). Where STASIS_THREAD_SETTINGS names a file, CRIU restores, and the file has
// what it does not set again of threads (criu/thread_settings.h). Each gets it before CRIU lets it go,
// whatever of it this machine allows.
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hooks.h"

enum { MOST = 65536, OF_THREAD = 1 };

struct settings {
  long thread;  // as the container sees it
  long priority;
  unsigned long slack;
  char processors[2 * sizeof(cpu_set_t) + 1];
};

static const char* settings_path;
static struct settings* all;
static size_t count;

// A copy: CRIU overwrites its environment, to show what it does in its command line.
__attribute__((constructor)) static void read_path(void) {
  const char* path = getenv("STASIS_THREAD_SETTINGS");
  if (path == NULL) return;
  settings_path = strdup(path);
  if (settings_path == NULL) abort();
}

void read_settings(void) {
  FILE* file = settings_path == NULL ? NULL : fopen(settings_path, "re");
  if (file == NULL) return;
  struct settings next;
  while (count < MOST &&
         fscanf(file, "%ld %ld %lu %256s", &next.thread, &next.priority, &next.slack, next.processors) == 4) {
    struct settings* grown = reallocarray(all, count + 1, sizeof *all);
    if (grown == NULL) break;
    all = grown;
    all[count++] = next;
  }
  fclose(file);
}

static void bind_to(pid_t thread, const char* processors) {
  cpu_set_t set;
  unsigned char* bytes = (unsigned char*)&set;
  CPU_ZERO(&set);
  for (size_t i = 0; i < sizeof set; ++i) {
    unsigned byte;
    if (sscanf(processors + 2 * i, "%2x", &byte) != 1) break;
    bytes[i] = (unsigned char)byte;
    if (strlen(processors) <= 2 * i + 2) break;
  }
  sched_setaffinity(thread, sizeof set, &set);
}

static void set_slack(pid_t thread, unsigned long slack) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/timerslack_ns", (int)thread);
  FILE* file = fopen(path, "we");
  if (file == NULL) return;
  fprintf(file, "%lu", slack);
  fclose(file);
}

void restore_settings(pid_t thread) {
  long process, inside;
  if (count == 0 || !numbers_inside(thread, &process, &inside)) return;
  for (size_t i = 0; i < count; ++i) {
    if (all[i].thread != inside) continue;
    if (all[i].priority != 0) syscall(SYS_ioprio_set, (long)OF_THREAD, (long)thread, all[i].priority);
    if (all[i].slack != 0) set_slack(thread, all[i].slack);
    if (all[i].processors[0] != '-') bind_to(thread, all[i].processors);
    return;
  }
}
