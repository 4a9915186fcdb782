// Waits in its threads by several system calls, a second each, and says which ended early, late or with an
// error. A line "NAME COUNT" for each wait that was right. The time in which nothing of it could run, because
// it was frozen or the machine was busy, is nobody's lateness: one more thread counts it.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int by_nanosleep(void) {
  struct timespec time = {1, 0};
  return nanosleep(&time, NULL);
}

static int by_clock_nanosleep(void) {
  struct timespec time = {1, 0};
  errno = clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
  return errno == 0 ? 0 : -1;
}

static int by_poll(void) { return poll(NULL, 0, 1000); }

static int by_select(void) {
  struct timeval time = {1, 0};
  return select(0, NULL, NULL, NULL, &time);
}

static int by_condition(void) {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += 1;
  pthread_mutex_lock(&mutex);
  errno = pthread_cond_timedwait(&condition, &mutex, &until);
  pthread_mutex_unlock(&mutex);
  return errno == ETIMEDOUT ? 0 : -1;
}

static pthread_mutex_t standing = PTHREAD_MUTEX_INITIALIZER;
static double stood;  // seconds in all

static void* count_standstills(void* unused) {
  const struct timespec beat = {0, 10000000};
  for (double last = now();;) {
    nanosleep(&beat, NULL);
    double time = now();
    pthread_mutex_lock(&standing);
    if (time - last > 0.02) stood += time - last - 0.01;
    pthread_mutex_unlock(&standing);
    last = time;
  }
  return unused;
}

static double standstill(void) {
  pthread_mutex_lock(&standing);
  double seconds = stood;
  pthread_mutex_unlock(&standing);
  return seconds;
}

// Whether a wait that began `took` seconds ago is late whatever else stood still. The other thread may be
// later still than the one that asks, and is given time to say so.
static int is_late(double took, double stood_before) {
  const struct timespec pause = {0, 100000000};
  for (int i = 0; i < 20 && took - (standstill() - stood_before) > 1.7; ++i) nanosleep(&pause, NULL);
  return took - (standstill() - stood_before) > 1.7;
}

struct waiter {
  const char* name;
  int (*wait)(void);
};

static void* run(void* argument) {
  const struct waiter* waiter = argument;
  for (int count = 1;; ++count) {
    double stood_before = standstill();
    double began = now();
    int result = waiter->wait();
    int error = errno;
    double took = now() - began;
    if (result != 0) {
      printf("WRONG: %s: %s after %.3f s\n", waiter->name, strerror(error), took);
    } else if (took < 0.99 || is_late(took, stood_before)) {
      printf("WRONG: %s: ended after %.3f s\n", waiter->name, took);
    } else {
      printf("%s %d\n", waiter->name, count);
    }
    fflush(stdout);
  }
}

int main(void) {
  static struct waiter waiters[] = {{"nanosleep", by_nanosleep}, {"clock_nanosleep", by_clock_nanosleep},
                                    {"poll", by_poll},           {"select", by_select},
                                    {"condition", by_condition}, {"leader", by_nanosleep}};
  enum { kThreads = sizeof waiters / sizeof *waiters - 1 };
  pthread_t thread;
  pthread_create(&thread, NULL, count_standstills, NULL);
  for (int i = 0; i < kThreads; ++i) {
    pthread_create(&thread, NULL, run, &waiters[i]);
  }
  run(&waiters[kThreads]);
}
