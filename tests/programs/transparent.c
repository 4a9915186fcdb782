// Looks for every trace that a checkpoint could leave in a program that runs on: waits of all kinds that end
// early, late or with EINTR, a child or a signal that is not its own, a changed descriptor, a restartable
// sequence that was left without its abort, a spawn that fails.
//
// Prints "WRONG: ..." for what must not be, and each second "counts NAME=N ..." of what was right. A thread
// without progress for some seconds is WRONG too. `transparent --end` ends at once: what it spawns.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/rseq.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char** environ;

// ---- what was seen

static void wrong(const char* format, ...) {
  static atomic_int told;
  if (atomic_fetch_add(&told, 1) > 300) return;
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  printf("WRONG: %s\n", text);
  fflush(stdout);
}

static double clock_now(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}
static double now(void) { return clock_now(CLOCK_MONOTONIC); }

// A restore goes on with the monotonic clock of the checkpoint, and the real time of today.
static double age(void) { return clock_now(CLOCK_REALTIME) - now(); }

// How long this program has stood still, as a thread saw that only sleeps a moment: by a checkpoint, by a
// busy machine, between a checkpoint and its restore.
static _Atomic double stood_still;

static void* watch_the_clock(void* unused) {
  (void)unused;
  for (double before = now();;) {
    poll(NULL, 0, 10);
    const double here = now();
    if (here - before > 0.02) stood_still = stood_still + (here - before - 0.01);
    before = here;
  }
}

// ---- threads that go round

static void every(int milliseconds) { nanosleep(&(struct timespec){0, milliseconds * 1000000L}, NULL); }

struct thread {
  const char* name;
  void (*round)(struct thread*);
  double limit;  // seconds without a round that are too many
  atomic_ulong rounds;
};

static void* run(void* argument) {
  struct thread* thread = argument;
  for (;; ++thread->rounds) thread->round(thread);
}

// ---- waits with a time-out: a whole second in which nothing comes

static const struct timespec second = {1, 0};
static struct timespec a_second_on(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  time.tv_sec += 1;
  return time;
}

static void time_out(struct thread* thread, bool (*wait)(void)) {
  const double still = stood_still, age_then = age(), began = now();
  const bool right = wait();
  const int error = errno;
  const double took = now() - began;
  every(50);  // until the clock's thread has seen it too
  const double standing = stood_still - still;
  const bool restored = age() - age_then > 0.05;  // it waits anew then
  const double most = (restored ? 2.5 : 1.5) + standing;
  if (!right) wrong("%s: %s after %.3f s", thread->name, strerror(error), took);
  if (right && (took < 0.998 || took > most))
    wrong("%s: ended after %.3f s, of which it stood still for %.3f", thread->name, took, standing);
}

static bool is(long result, int error) { return error == 0 ? result == 0 : result == -1 && errno == error; }

#define TIME_OUT(name, expression)                        \
  static bool wait_by_##name(void) { return expression; } \
  static void by_##name(struct thread* thread) { time_out(thread, wait_by_##name); }

static int own_epoll(void) {
  static _Thread_local int epoll = -1;
  if (epoll < 0) epoll = epoll_create1(0);
  return epoll;
}
static sigset_t only(int signal) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  return set;
}
static int sigtimedwait_for(int signal, const struct timespec* time) {
  const sigset_t set = only(signal);
  return sigtimedwait(&set, NULL, time);
}
static int silent_socket(void) {
  static int ends[2] = {-1, -1};
  if (ends[0] < 0) {
    socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
    setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){1, 0}, sizeof(struct timeval));
  }
  return ends[0];
}
static int own_semaphore(void) {
  static int semaphore = -1;
  if (semaphore < 0) semaphore = semget(IPC_PRIVATE, 1, 0600);
  return semaphore;
}
static sigset_t blocked;  // in all threads
static uint32_t never;
static sem_t never_posted;
static int posted_until(struct timespec time) { return sem_clockwait(&never_posted, CLOCK_MONOTONIC, &time); }
static int sleep_until(struct timespec time) {
  return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
}
static struct epoll_event no_event;

TIME_OUT(nanosleep, is(nanosleep(&second, NULL), 0))
TIME_OUT(clock_nanosleep, (errno = sleep_until(a_second_on())) == 0)
TIME_OUT(poll, is(poll(NULL, 0, 1000), 0))
TIME_OUT(ppoll, is(ppoll(NULL, 0, &second, &blocked), 0))
TIME_OUT(select, is(select(0, NULL, NULL, NULL, &(struct timeval){1, 0}), 0))
TIME_OUT(futex, is(syscall(SYS_futex, &never, FUTEX_WAIT_PRIVATE, 0, &second, NULL, 0), ETIMEDOUT))
TIME_OUT(sem_clockwait, is(posted_until(a_second_on()), ETIMEDOUT))
TIME_OUT(epoll_wait, is(epoll_wait(own_epoll(), &no_event, 1, 1000), 0))
TIME_OUT(epoll_pwait, is(epoll_pwait(own_epoll(), &no_event, 1, 1000, &blocked), 0))
TIME_OUT(epoll_pwait2, is(syscall(SYS_epoll_pwait2, own_epoll(), &no_event, 1, &second, NULL, 0), 0))
TIME_OUT(sigtimedwait, is(sigtimedwait_for(SIGUSR2, &second), EAGAIN))
TIME_OUT(semtimedop, is(semtimedop(own_semaphore(), &(struct sembuf){0, -1, 0}, 1, &second), EAGAIN))

// SO_RCVTIMEO: waits anew after a checkpoint, so it may be late, but neither early nor EINTR.
static void by_recv(struct thread* thread) {
  const double began = now();
  char byte;
  const ssize_t got = recv(silent_socket(), &byte, 1, 0);
  if (got != -1 || errno != EAGAIN) wrong("%s: %zd %s", thread->name, got, strerror(errno));
  if (now() - began < 0.99) wrong("%s: ended after %.3f s", thread->name, now() - began);
}

// ---- waits without one: something comes again and again

static int pipe_ends[2];
static void by_write(struct thread* thread) {
  every(150);
  if (write(pipe_ends[1], "x", 1) != 1) wrong("%s: %s", thread->name, strerror(errno));
}
static void by_read(struct thread* thread) {
  char byte;
  const ssize_t got = read(pipe_ends[0], &byte, 1);
  if (got != 1) wrong("%s: %zd %s", thread->name, got, strerror(errno));
}

static sem_t posted;
static void by_sem_post(struct thread* thread) {
  (void)thread;
  every(130);
  sem_post(&posted);
}
static void by_sem_wait(struct thread* thread) {
  if (sem_wait(&posted) != 0) wrong("%s: %s", thread->name, strerror(errno));
}

static void by_endless_epoll(struct thread* thread) {
  static int timer = -1;
  if (timer < 0) {
    timer = timerfd_create(CLOCK_MONOTONIC, 0);
    epoll_ctl(own_epoll(), EPOLL_CTL_ADD, timer, &(struct epoll_event){.events = EPOLLIN});
    timerfd_settime(timer, 0, &(struct itimerspec){{0, 100000000}, {0, 100000000}}, NULL);
  }
  struct epoll_event event;
  const int got = epoll_wait(own_epoll(), &event, 1, -1);
  uint64_t times;
  if (got != 1) {
    wrong("%s: %d %s", thread->name, got, strerror(errno));
  } else if (read(timer, &times, sizeof times) != sizeof times) {
    wrong("%s: read: %s", thread->name, strerror(errno));
  }
}

static atomic_int waits_for_signal;
static void by_sigwaitinfo(struct thread* thread) {
  waits_for_signal = gettid();
  const sigset_t set = only(SIGUSR1);
  const int got = sigwaitinfo(&set, NULL);
  if (got != SIGUSR1) wrong("%s: %d %s", thread->name, got, strerror(errno));
}
static void by_tgkill(struct thread* thread) {
  every(120);
  const int target = waits_for_signal;
  if (target != 0 && tgkill(getpid(), target, SIGUSR1) != 0) wrong("%s: %s", thread->name, strerror(errno));
}

static int listener = -1;
static struct sockaddr_in address;
static void by_connect(struct thread* thread) {
  every(140);
  const int client = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(client, (struct sockaddr*)&address, sizeof address) != 0)
    wrong("%s: %s", thread->name, strerror(errno));
  char byte;  // until the other side has hung up, so that ports are not used up here
  if (read(client, &byte, 1) != 0) wrong("%s: read: %s", thread->name, strerror(errno));
  close(client);
}
static void by_accept(struct thread* thread) {
  const int client = accept(listener, NULL, NULL);
  if (client < 0) wrong("%s: %s", thread->name, strerror(errno));
  close(client);
}

// A signal that comes while it waits must end the wait: one shot, let in by ppoll alone.
static atomic_int handled;
static void on_alarm(int signal) {
  (void)signal;
  ++handled;
}
static void by_signal(struct thread* thread) {
  static timer_t timer;
  static bool made;
  if (!made) {
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM};
    event._sigev_un._tid = gettid();
    timer_create(CLOCK_MONOTONIC, &event, &timer);
    made = true;
  }
  const int before = handled;
  timer_settime(timer, 0, &(struct itimerspec){{0, 0}, {0, 40000000}}, NULL);
  sigset_t open = blocked;
  sigdelset(&open, SIGALRM);
  const int got = ppoll(NULL, 0, &(struct timespec){4, 0}, &open);
  if (got != -1 || errno != EINTR || handled != before + 1) {
    wrong("%s: %d %s, the handler ran %d times", thread->name, got, strerror(errno), handled - before);
  }
}

// ---- spawning

static void by_spawn(struct thread* thread) {
  pid_t child = 0;
  char* arguments[] = {"transparent", "--end", NULL};
  const int error = posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environ);
  if (error != 0) {
    wrong("%s: %s", thread->name, strerror(error));
    return;
  }
  int status = -1;
  if (waitpid(child, &status, 0) != child || status != 7 << 8)
    wrong("%s: status %x, %s", thread->name, status, strerror(errno));
  every(5);
}

// ---- restartable sequences: counters of each processor, which are right only if a sequence that was
// interrupted is aborted

enum { PROCESSORS = 1024, SEQUENCES = 3 };
static struct {
  uint64_t count;
  char padding[56];
} counters[PROCESSORS];
static pthread_barrier_t counted;

static bool add_one(void) {
  struct rseq* area = (struct rseq*)((char*)__builtin_thread_pointer() + __rseq_offset);
  const uint32_t cpu = area->cpu_id_start;
  uint64_t* counter = &counters[cpu % PROCESSORS].count;
  __asm__ volatile goto(
      ".pushsection __rseq_cs, \"aw\"\n"
      ".balign 32\n"
      "3: .long 0, 0\n"
      ".quad 1f, 2f - 1f, 4f\n"
      ".popsection\n"
      "lea 3b(%%rip), %%rax\n"
      "mov %%rax, %[sequence]\n"
      "1: cmp %[cpu], %[cpu_id]\n"
      "jne %l[aborted]\n"
      "mov %[counter], %%rax\n"
      "mov $2000, %%ecx\n"  // most of its time is in here
      "5: pause\n"
      "dec %%ecx\n"
      "jnz 5b\n"
      "inc %%rax\n"
      "mov %%rax, %[counter]\n"
      "2:\n"
      ".pushsection .text.rseq_abort, \"ax\"\n"
      ".byte 0x0f, 0xb9, 0x3d\n"
      ".long 0x53053053\n"
      "4: jmp %l[aborted]\n"
      ".popsection\n"
      :
      : [sequence] "m"(area->rseq_cs), [cpu_id] "m"(area->cpu_id), [cpu] "r"(cpu), [counter] "m"(*counter)
      : "rax", "rcx", "memory", "cc"
      : aborted);
  return true;
aborted:
  return false;
}

static void by_sequence(struct thread* thread) {
  enum { TIMES = 100 };
  if (__rseq_size == 0) {
    every(100);
    return;
  }
  for (int done = 0; done < TIMES;) done += add_one();
  if (pthread_barrier_wait(&counted) == PTHREAD_BARRIER_SERIAL_THREAD) {
    uint64_t sum = 0;
    for (int i = 0; i < PROCESSORS; ++i) sum += counters[i].count;
    memset(counters, 0, sizeof counters);
    if (sum != (uint64_t)TIMES * SEQUENCES) wrong("%s: %lu, not %d", thread->name, sum, TIMES * SEQUENCES);
  }
  pthread_barrier_wait(&counted);
  every(20);
}

// ---- a process that is told of everything: it has one child, which never ends

static void on_signal(int signal) {
  char text[] = "WRONG: signal 00\n";
  text[14] = (char)('0' + signal / 10);
  text[15] = (char)('0' + signal % 10);
  if (write(STDOUT_FILENO, text, sizeof text - 1) < 0) abort();
}

static void by_waitpid(struct thread* thread) {
  int status;
  const pid_t child = waitpid(-1, &status, 0);
  wrong("%s: %d %s", thread->name, child, strerror(errno));
}

static void by_descriptors(struct thread* thread) {
  static char before[4096];
  char here[4096] = "";
  DIR* directory = opendir("/proc/self/fd");
  if (directory == NULL) {
    wrong("%s: %s", thread->name, strerror(errno));
    return;
  }
  for (const struct dirent* entry; (entry = readdir(directory)) != NULL;) {
    char path[300], target[200];
    snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
    const ssize_t size = readlink(path, target, sizeof target - 1);
    if (size < 0) continue;
    target[size] = '\0';
    const size_t length = strlen(here);
    snprintf(here + length, sizeof here - length, "%s ", entry->d_name);
  }
  closedir(directory);
  if (before[0] == '\0') memcpy(before, here, sizeof before);
  if (strcmp(before, here) != 0) wrong("%s: %s, not %s", thread->name, here, before);
  every(20);
}

// ----

static void start(struct thread* threads, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, &threads[i]) != 0) abort();
  }
}

// Never returns. A thread that stands is told once.
static void report(const char* who, struct thread* threads, size_t count) {
  struct {
    unsigned long rounds;
    double since;
    bool told;
  } seen[64] = {0};
  for (size_t i = 0; i < count; ++i) seen[i].since = now() - stood_still;
  for (;;) {
    every(999);
    char line[1024];
    int length = snprintf(line, sizeof line, "counts %s", who);
    for (size_t i = 0; i < count; ++i) {
      const unsigned long rounds = threads[i].rounds;
      const double here = now() - stood_still;
      if (rounds != seen[i].rounds) {
        seen[i].rounds = rounds;
        seen[i].since = here;
        seen[i].told = false;
      } else if (threads[i].limit > 0 && here - seen[i].since > threads[i].limit && !seen[i].told) {
        wrong("%s: no progress for %.1f s", threads[i].name, here - seen[i].since);
        seen[i].told = true;
      }
      length += snprintf(line + length, sizeof line - (size_t)length, " %s=%lu", threads[i].name, rounds);
    }
    printf("%s\n", line);
    fflush(stdout);
  }
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void be_told_of_everything(void) {
  if (fork() == 0) {
    for (;;) pause();
  }
  for (int signal = 1; signal < 32; ++signal) {
    if (signal != SIGKILL && signal != SIGSTOP && signal != SIGTERM) {
      sigaction(signal, &(struct sigaction){.sa_handler = on_signal}, NULL);
    }
  }
  static struct thread threads[] = {{"waitpid", by_waitpid, 0}, {"descriptors", by_descriptors, 5}};
  pthread_t clock;
  pthread_create(&clock, NULL, watch_the_clock, NULL);
  start(threads, COUNT(threads));
  report("told", threads, COUNT(threads));
}

int main(int argc, char** argv) {
  if (argc > 1 && strcmp(argv[1], "--end") == 0) return 7;
  if (fork() == 0) be_told_of_everything();

  // For those who wait for them: everybody else has them blocked. SIGCHLD as well: posix_spawn blocks all
  // signals, and that of a child which ends meanwhile would wake any thread here.
  blocked = only(SIGUSR1);
  sigaddset(&blocked, SIGUSR2);
  sigaddset(&blocked, SIGALRM);
  sigaddset(&blocked, SIGCHLD);
  sigprocmask(SIG_BLOCK, &blocked, NULL);
  sigaction(SIGALRM, &(struct sigaction){.sa_handler = on_alarm}, NULL);
  sem_init(&never_posted, 0, 0);
  sem_init(&posted, 0, 0);
  pthread_barrier_init(&counted, NULL, SEQUENCES);
  if (pipe(pipe_ends) != 0) return 1;
  listener = socket(AF_INET, SOCK_STREAM, 0);
  address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof address;
  if (bind(listener, (struct sockaddr*)&address, size) != 0 || listen(listener, 8) != 0) return 1;
  getsockname(listener, (struct sockaddr*)&address, &size);

  static struct thread threads[] = {
      {"nanosleep", by_nanosleep, 8},
      {"clock_nanosleep", by_clock_nanosleep, 8},
      {"poll", by_poll, 8},
      {"ppoll", by_ppoll, 8},
      {"select", by_select, 8},
      {"futex", by_futex, 8},
      {"sem_clockwait", by_sem_clockwait, 8},
      {"epoll_wait", by_epoll_wait, 8},
      {"epoll_pwait", by_epoll_pwait, 8},
      {"epoll_pwait2", by_epoll_pwait2, 8},
      {"sigtimedwait", by_sigtimedwait, 8},
      {"semtimedop", by_semtimedop, 8},
      {"recv", by_recv, 0},
      {"write", by_write, 5},
      {"read", by_read, 5},
      {"sem_post", by_sem_post, 5},
      {"sem_wait", by_sem_wait, 5},
      {"endless_epoll", by_endless_epoll, 5},
      {"sigwaitinfo", by_sigwaitinfo, 5},
      {"tgkill", by_tgkill, 5},
      {"connect", by_connect, 5},
      {"accept", by_accept, 5},
      {"signal", by_signal, 5},
      {"spawn", by_spawn, 8},
      {"sequence1", by_sequence, 8},
      {"sequence2", by_sequence, 8},
      {"sequence3", by_sequence, 8},
  };
  pthread_t clock;
  pthread_create(&clock, NULL, watch_the_clock, NULL);
  start(threads, COUNT(threads));
  report("main", threads, COUNT(threads));
}
