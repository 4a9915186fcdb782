// Loaded into CRIU (LD_PRELOAD). Where STASIS_SHOWN_MEMORY names a file, the private memory of the processes
// that CRIU dumps is hidden from it: a copy-on-write checkpoint reads that later, from twins (docs/adr/0005).
// The file says what is shown all the same, since a twin does not have it: lines "PID BEGIN END", hexadecimal
// addresses.
//
// CRIU asks by PAGEMAP_SCAN (the kernel's admin-guide/mm/pagemap.rst) which pages of a range there are to be
// saved, and where guard pages are (MADV_GUARD_INSTALL), which it is told. It uses the first answer for
// private memory only: shared memory it reads through the files behind it, and the vdso it saves whatever the
// answer is. An answer may cover the first part of the range only: then CRIU asks again.
#define _GNU_SOURCE
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hooks.h"
#include "linux/pagemap_scan.h"

#define EXPORTED __attribute__((visibility("default")))

struct range {
  int process;
  uint64_t begin;
  uint64_t end;
};

static bool hides;
static struct range* shown;
static size_t shown_count;

__attribute__((constructor)) static void read_shown(void) {
  const char* path = getenv("STASIS_SHOWN_MEMORY");
  if (path == NULL) return;
  FILE* file = fopen(path, "re");
  if (file == NULL) abort();  // what is forgotten here would be missing in the checkpoint
  hides = true;
  struct range range;
  while (fscanf(file, "%d %" SCNx64 " %" SCNx64, &range.process, &range.begin, &range.end) == 3) {
    struct range* grown = reallocarray(shown, shown_count + 1, sizeof *shown);
    if (grown == NULL) abort();
    shown = grown;
    shown[shown_count++] = range;
  }
  fclose(file);
}

bool memory_is_hidden(void) { return hides && shown_count == 0; }

// Of the /proc/PID/pagemap behind a descriptor; 0: it is none.
static int process_of(int descriptor) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  const ssize_t size = readlink(link, path, sizeof path - 1);
  if (size < 0) return 0;
  path[size] = '\0';
  int process = 0;
  return sscanf(path, "/proc/%d/pagemap", &process) == 1 ? process : 0;
}

// The first shown range of the process that does not lie below `address`, or NULL.
static const struct range* next_shown(int process, uint64_t address) {
  const struct range* first = NULL;
  for (size_t i = 0; i < shown_count; ++i) {
    if (shown[i].process != process || shown[i].end <= address) continue;
    if (first == NULL || shown[i].begin < first->begin) first = &shown[i];
  }
  return first;
}

static long scan_shown(int process, int descriptor, struct StasisPagemapScan* scan) {
  const struct range* range = next_shown(process, scan->start);
  if (range == NULL || range->begin >= scan->end) {
    scan->walk_end = scan->end;
    return 0;
  }
  if (range->begin > scan->start) {
    scan->walk_end = range->begin;
    return 0;
  }
  const uint64_t end = scan->end;
  if (range->end < end) scan->end = range->end;
  const long result = syscall(SYS_ioctl, descriptor, (unsigned long)STASIS_PAGEMAP_SCAN, scan);
  scan->end = end;
  return result;
}

static bool asks_for_guards(const struct StasisPagemapScan* scan) {
  return (scan->category_mask & STASIS_PAGE_IS_GUARD) != 0;
}

EXPORTED int ioctl(int descriptor, unsigned long request, ...) {
  va_list list;
  va_start(list, request);
  void* argument = va_arg(list, void*);
  va_end(list);
  if ((uint32_t)request == STASIS_PAGEMAP_SCAN && argument != NULL && hides && !asks_for_guards(argument)) {
    // Of itself it asks in order to learn what the kernel has.
    const int process = process_of(descriptor);
    if (process != getpid()) return (int)scan_shown(process, descriptor, argument);
  }
  const int result = (int)syscall(SYS_ioctl, descriptor, request, argument);
  if (request == OPEN_SOCKET_FILE && result >= 0) socket_file_was_opened(descriptor, result);
  return result;
}
