// Loaded into CRIU (LD_PRELOAD). A dump reads the pending signals of a process first and its timers much
// later: a timer that runs out in between is saved as one that is not armed, and its signal is not saved. So
// whenever CRIU sets the registers of a thread whose signals it has read, the last time of which is after all
// it asks of that process, it is looked for what has come since; STASIS_LATE_SIGNALS names the file that it
// is noted in, a line each (criu/timer_images.h): "PROCESS THREAD SHARED SIGINFO", the numbers as the
// container sees them, SHARED 1 for a signal to the process, the siginfo_t in hexadecimal.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hooks.h"

enum { SHARED = PTRACE_PEEKSIGINFO_SHARED, BATCH = 8 };

// A queue of which `seen` have been read. Nothing is taken out of it while CRIU holds the thread.
struct queue {
  struct queue* next;
  pid_t thread;
  uint32_t flags;
  uint64_t seen;
};

// By the last digits of their threads' ids.
enum { LISTS = 4096 };
static struct queue* queues[LISTS];

static struct queue** list_of(pid_t thread) { return &queues[(unsigned)thread % LISTS]; }

static struct queue* find(pid_t thread, uint32_t flags) {
  struct queue* queue = *list_of(thread);
  while (queue != NULL && (queue->thread != thread || queue->flags != flags)) queue = queue->next;
  return queue;
}

void signals_were_read(pid_t thread, const void* asked, long count) {
  struct __ptrace_peeksiginfo_args question;
  memcpy(&question, asked, sizeof question);
  if (count < 0 || getenv("STASIS_LATE_SIGNALS") == NULL) return;
  struct queue* queue = find(thread, question.flags);
  if (queue == NULL) {
    queue = malloc(sizeof *queue);
    if (queue == NULL) return;
    *queue = (struct queue){*list_of(thread), thread, question.flags, 0};
    *list_of(thread) = queue;
  }
  queue->seen = question.off + (uint64_t)count;
}

// The last of the numbers in a line of /proc/THREAD/status: that of the innermost namespace.
static long innermost(const char* numbers) {
  long number = 0;
  for (char* end;; numbers = end) {
    const long next = strtol(numbers, &end, 10);
    if (end == numbers) return number;
    number = next;
  }
}

bool numbers_inside(pid_t thread, long* inside_process, long* inside_thread) {
  char path[64], line[256];
  snprintf(path, sizeof path, "/proc/%d/status", (int)thread);
  FILE* file = fopen(path, "re");
  if (file == NULL) return false;
  *inside_process = *inside_thread = 0;
  while (fgets(line, sizeof line, file) != NULL) {
    if (strncmp(line, "NStgid:", 7) == 0) *inside_process = innermost(line + 7);
    if (strncmp(line, "NSpid:", 6) == 0) *inside_thread = innermost(line + 6);
  }
  fclose(file);
  return *inside_process != 0 && *inside_thread != 0;
}

static void note(const struct queue* queue, const siginfo_t* signals, long count) {
  long process, thread;
  if (!numbers_inside(queue->thread, &process, &thread)) return;
  FILE* file = fopen(getenv("STASIS_LATE_SIGNALS"), "ae");
  if (file == NULL) return;
  for (long i = 0; i < count; ++i) {
    fprintf(file, "%ld %ld %d ", process, thread, (queue->flags & SHARED) != 0);
    const unsigned char* bytes = (const unsigned char*)&signals[i];
    for (size_t at = 0; at < sizeof signals[i]; ++at) fprintf(file, "%02x", bytes[at]);
    fputc('\n', file);
  }
  fclose(file);
}

void look_for_late_signals(pid_t thread) {
  const int error = errno;
  for (uint32_t flags = 0; flags <= SHARED; ++flags) {
    struct queue* queue = find(thread, flags);
    siginfo_t signals[BATCH];
    for (long got = BATCH; queue != NULL && got == BATCH;) {
      const struct __ptrace_peeksiginfo_args question = {queue->seen, flags, BATCH};
      got = syscall(SYS_ptrace, (long)PTRACE_PEEKSIGINFO, (long)thread, &question, signals);
      if (got <= 0) break;
      note(queue, signals, got);
      queue->seen += (uint64_t)got;
    }
  }
  errno = error;
}
