// Makes 24 threads, and executes itself after 2 ms, again and again, from a thread other than the first in
// every second round: the kernel then kills its other threads. A line with the number of rounds after every
// 50th.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { kThreads = 24 };

static char** arguments;

static void pass(long milliseconds) {
  const struct timespec time = {0, milliseconds * 1000000};
  nanosleep(&time, NULL);
}

static void execute_again(void) {
  pass(2);
  execv("/proc/self/exe", arguments);
  perror("exec");
  exit(1);
}

static void* wait_for_the_end(void* unused) {
  for (;;) pass(100);
  return unused;
}

static void* executor(void* unused) {
  execute_again();
  return unused;
}

int main(int count, char** values) {
  const long round = count > 1 ? atol(values[1]) : 0;
  char next[24];
  char* again[] = {values[0], next, NULL};
  arguments = again;
  snprintf(next, sizeof next, "%ld", round + 1);
  if (round % 50 == 0) printf("%ld\n", round), fflush(stdout);
  pthread_t thread;
  for (int i = 0; i < kThreads; ++i) {
    while (pthread_create(&thread, NULL, i == kThreads - 1 && round % 2 ? executor : wait_for_the_end, NULL))
      pass(1);
  }
  if (round % 2 == 0) execute_again();
  for (;;) pass(100);
}
