/* What the programs of the benchmarks have in common: they go in steps of a millisecond, and say what they
 * saw of time. */
#pragma once
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static uint64_t microseconds(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t state = 88172645463325252u;
static uint64_t next(void) {
  state ^= state << 13;
  state ^= state >> 7;
  return state ^= state << 17;
}

static volatile sig_atomic_t asked;
static void ask(int signal) { asked = signal; }

static int file = -1, first = -1;
static uint64_t last, longest, last_of_day;

/* Keeps in FILE the longest gap between two steps since the last SIGUSR1, in microseconds, and in FILE.first
 * the time of day, in microseconds, of each step that came more than 0.1 s after the one before, as the first
 * of a restore does: of all clocks only that one goes on for a container while it is not there. */
static void begin(const char* path) {
  if (path) {
    char name[256];
    snprintf(name, sizeof name, "%s.first", path);
    file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    first = open(name, O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0644);
  }
  signal(SIGUSR1, ask);
  puts("ready");
  fflush(stdout);
  last = microseconds(CLOCK_MONOTONIC);
  last_of_day = microseconds(CLOCK_REALTIME);
}

/* False: stdin has ended. */
static int step(void) {
  struct pollfd in = {0, POLLIN, 0};
  char line[64];
  if (poll(&in, 1, 1) > 0 && read(0, line, sizeof line) <= 0) return 0;
  uint64_t now = microseconds(CLOCK_MONOTONIC);
  if (asked) longest = asked = 0;
  if (now - last > longest) {
    longest = now - last;
    if (file >= 0) dprintf(file, "%llu\n", (unsigned long long)longest);
  }
  last = now;
  uint64_t of_day = microseconds(CLOCK_REALTIME);
  if (of_day - last_of_day > 100000 && first >= 0) dprintf(first, "%llu\n", (unsigned long long)of_day);
  last_of_day = of_day;
  return 1;
}
