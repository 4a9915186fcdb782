// Arms a timer of each kind that counts time, for 1000 s, and then tells again and again by how many
// milliseconds each is to run out later than it was to: "late ITIMER_REAL TIMER_CREATE TIMERFD".
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { SECONDS = 1000 };

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double seconds(struct timespec time) { return (double)time.tv_sec + (double)time.tv_nsec / 1e9; }

int main(void) {
  const struct itimerspec long_time = {{0, 0}, {SECONDS, 0}};
  timer_t timer;
  signal(SIGALRM, SIG_IGN);
  const double due = now() + SECONDS;
  setitimer(ITIMER_REAL, &(struct itimerval){{7, 0}, {SECONDS, 0}}, NULL);
  timer_create(CLOCK_MONOTONIC, &(struct sigevent){.sigev_notify = SIGEV_NONE}, &timer);
  timer_settime(timer, 0, &long_time, NULL);
  const int file = timerfd_create(CLOCK_MONOTONIC, 0);
  timerfd_settime(file, 0, &long_time, NULL);
  for (;;) {
    struct itimerval real;
    struct itimerspec created, of_file;
    const double before = now();
    getitimer(ITIMER_REAL, &real);
    timer_gettime(timer, &created);
    timerfd_gettime(file, &of_file);
    if (now() - before < 0.002) {  // else it stood still in between
      printf("late %.0f %.0f %.0f\n",
             1e3 * ((double)real.it_value.tv_sec + (double)real.it_value.tv_usec / 1e6 + before - due),
             1e3 * (seconds(created.it_value) + before - due),
             1e3 * (seconds(of_file.it_value) + before - due));
      fflush(stdout);
    }
    nanosleep(&(struct timespec){0, 50000000}, NULL);
  }
}
