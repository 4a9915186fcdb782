// Sets many timers that run out one shortly after the other, in rounds of half a second, and says what did
// not come as it should: each exactly once. "ROUND N" after each round in which all are seen.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { TIMERS = 1000, STEP = 500000, CHILDREN = 8, PERIOD = 5000000, MEMORY = 64 << 20 };

static void wrong(const char* what, long number, long got) {
  printf("WRONG %s %ld: %ld\n", what, number, got);
  fflush(stdout);
}

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static struct itimerspec once(int64_t after) {
  return (struct itimerspec){{0, 0}, {after / 1000000000, after % 1000000000}};
}

static sigset_t only(int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  return set;
}

// POSIX timers whose signals go to the process, or to the calling thread.
static void posix_timers(const char* name, int signal, int notify, timer_t* timers) {
  static _Thread_local int counts[TIMERS];
  memset(counts, 0, sizeof counts);
  for (int i = 0; i < TIMERS; ++i) {
    struct sigevent event = {.sigev_notify = notify, .sigev_signo = signal, .sigev_value.sival_int = i};
    event._sigev_un._tid = gettid();
    if (timers[i] == (timer_t)-1 && timer_create(CLOCK_MONOTONIC, &event, &timers[i]) != 0) abort();
    const struct itimerspec time = once((i + 1) * (int64_t)STEP);
    timer_settime(timers[i], 0, &time, NULL);
  }
  const sigset_t set = only(signal);
  int seen = 0;
  siginfo_t info;
  // Once all are there, what comes twice comes soon.
  while (sigtimedwait(&set, &info, &(struct timespec){seen < TIMERS ? 4 : 0, 1000000}) == signal) {
    ++seen;
    ++counts[info.si_value.sival_int];
  }
  for (int i = 0; i < TIMERS; ++i) {
    if (counts[i] != 1) wrong(name, i, counts[i]);
  }
}

static void* by_thread(void* unused) {
  timer_t timers[TIMERS];
  memset(timers, 0xff, sizeof timers);
  for (;;) posix_timers("thread", SIGRTMIN + 2, SIGEV_THREAD_ID, timers);
  return unused;
}

// Of setitimer(2) a process has one.
static void by_child(unsigned number) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  srandom(number);
  for (;;) {
    const struct itimerval time = {{0, 0}, {0, 1000 + random() % 40000}};
    setitimer(ITIMER_REAL, &time, NULL);
    const sigset_t set = only(SIGALRM);
    const int got = sigtimedwait(&set, NULL, &(struct timespec){4, 0});
    if (got != SIGALRM) wrong("setitimer", number, errno);
  }
}

static int readable(int timer, int wait) {
  return poll(&(struct pollfd){.fd = timer, .events = POLLIN}, 1, wait);
}

int main(void) {
  for (unsigned i = 0; i < CHILDREN; ++i) {
    sigset_t set = only(SIGALRM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    if (fork() == 0) by_child(i);
  }
  // So that a dump that saves it takes some time.
  volatile char* memory = malloc(MEMORY);
  for (int i = 0; i < MEMORY; i += 4096) memory[i] = (char)i;
  sigset_t set = only(SIGRTMIN + 1);
  sigaddset(&set, SIGRTMIN + 2);
  sigprocmask(SIG_BLOCK, &set, NULL);
  pthread_t thread;
  pthread_create(&thread, NULL, by_thread, NULL);
  static timer_t timers[TIMERS];
  memset(timers, 0xff, sizeof timers);
  const int periodic = timerfd_create(CLOCK_MONOTONIC, 0), absolute = timerfd_create(CLOCK_MONOTONIC, 0);
  for (int round = 1;; ++round) {
    uint64_t times;
    const int64_t began = now();
    timerfd_settime(periodic, 0, &(struct itimerspec){{0, PERIOD}, {0, PERIOD}}, NULL);
    const struct itimerspec soon = once(began + 1000000);
    timerfd_settime(absolute, TFD_TIMER_ABSTIME, &soon, NULL);
    if (read(absolute, &times, sizeof times) != sizeof times || times != 1) wrong("absolute", round, errno);
    posix_timers("process", SIGRTMIN + 1, SIGEV_SIGNAL, timers);
    if (readable(absolute, 0) != 0) wrong("absolute, again", round, 1);
    if (read(periodic, &times, sizeof times) != sizeof times) wrong("periodic", round, errno);
    const int64_t most = (now() - began) / PERIOD + 1;
    if (times < 1 || (int64_t)times > most) wrong("periodic, times", round, (long)times);
    if (readable(periodic, 4000) != 1) wrong("periodic, stands", round, (long)times);
    printf("ROUND %d\n", round);
    fflush(stdout);
  }
}
