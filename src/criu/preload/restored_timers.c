// Loaded into CRIU (LD_PRELOAD). Where STASIS_RESTORED_TIMERS names a file, CRIU restores, and the file has
// the timers that are armed, if any are (criu/restored_timers.h). CRIU has set the processes' clock early in
// the restore, and armed their timers much later, with the time that was left in the dump. Here, when all
// threads stand still for the last time, each timer is set to what is left by that clock. Timers that have
// run out since CRIU armed them stay as they are; those that should have run out do so at once.
//
// Timers of a process only that process can set: its first thread makes the calls (inner_calls.h).
#define _GNU_SOURCE
#ifdef __x86_64__
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "hooks.h"
#include "inner_calls.h"
#include "linux/interrupted_wait.h"

enum { MOST = 1 << 20 };

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

// ---- timers

// As setitimer(2) and timer_settime(2) have them; of the second numbers of each, `unit` nanoseconds are 1.
struct times {
  int64_t period[2];
  int64_t left[2];
};

// False: the process cannot go on. A call that the kernel refuses leaves the timer as it is.
static bool set_of_process(struct inner_caller* caller, const struct timer* timer, int64_t ahead) {
  const bool real = strcmp(timer->kind, "real") == 0;
  const int64_t unit = real ? 1000 : 1;
  const uint64_t which = real ? ITIMER_REAL : (uint64_t)timer->number;
  const uint64_t get[5] = {which, caller->room};
  const uint64_t set[5] = {which, real ? caller->room : 0, real ? 0 : caller->room};
  struct times times;
  long result;
  if (!inner_call(caller, real ? SYS_getitimer : SYS_timer_gettime, get, &result) ||
      !inner_read(caller, &times, sizeof times))
    return false;
  if (result != 0 || (times.left[0] | times.left[1]) == 0) return true;
  const int64_t left = left_of(timer, ahead) + unit - 1;
  times.left[0] = left / STASIS_SECOND;
  times.left[1] = left % STASIS_SECOND / unit;
  return inner_write(caller, &times, sizeof times) &&
         inner_call(caller, real ? SYS_setitimer : SYS_timer_settime, set, &result);
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

static bool restore_of(pid_t process, long inside, int64_t ahead) {
  struct inner_caller caller;
  bool calls = false, good = true;
  for (size_t i = 0; good && i < count; ++i) {
    const struct timer* timer = &all[i];
    if (timer->process != inside) continue;
    if (strcmp(timer->kind, "file") == 0) {
      set_of_file(process, timer, ahead);
      continue;
    }
    if (!calls && !begin_inner_calls(&caller, process)) return true;  // 32-bit code: they are late
    calls = true;
    good = set_of_process(&caller, timer, ahead);
  }
  return good && (!calls || end_inner_calls(&caller));
}

bool restore_timers(const pid_t* threads, size_t number) {
  int64_t own = 0;
  if (count == 0 || !offset_of(getpid(), &own)) return true;
  for (size_t i = 0; i < number; ++i) {
    long process, thread;
    int64_t inside;
    if (!numbers_inside(threads[i], &process, &thread) || process != thread) continue;
    if (!offset_of(threads[i], &inside) || restore_of(threads[i], process, inside - own)) continue;
    dprintf(STDERR_FILENO, "stasis: the timers of process %ld cannot be set again: %m\n", process);
    return false;
  }
  return true;
}
#else
#include "hooks.h"
void read_timers(void) {}
bool restore_timers(const pid_t* threads, size_t number) {
  (void)threads, (void)number;
  return true;
}
#endif
