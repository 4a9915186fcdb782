/* memory MIB RATE [FILE]: the workload of the benchmarks. Holds MIB of memory, half random and half
 * compressible, and writes RATE pages a second, until its stdin ends. Prints "ready", and keeps in FILE the
 * longest gap between two of its steps since the last SIGUSR1, in microseconds. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
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

int main(int argc, char** argv) {
  size_t pages = (argc > 1 ? strtoul(argv[1], 0, 10) : 64) * 256;
  unsigned rate = argc > 2 ? (unsigned)strtoul(argv[2], 0, 10) : 0;
  uint64_t* memory = mmap(0, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 1;
  for (size_t page = 0; page < pages; page++) {
    for (int word = 0; word < 512; word++) memory[page * 512 + word] = page % 2 ? next() : page;
  }
  int file = argc > 3 ? open(argv[3], O_RDWR | O_CREAT | O_TRUNC, 0644) : -1;
  signal(SIGUSR1, ask);
  puts("ready");
  fflush(stdout);
  uint64_t last = now(), longest = 0;
  for (;;) {
    struct pollfd in = {0, POLLIN, 0};
    for (unsigned n = 0; n < rate / 1000; n++) memory[next() % pages * 512]++;
    char line[64];
    if (poll(&in, 1, 1) > 0 && read(0, line, sizeof line) <= 0) return 0;
    uint64_t step = now();
    if (asked) longest = asked = 0;
    if (step - last > longest) {
      longest = step - last;
      if (file >= 0) dprintf(file, "%llu\n", (unsigned long long)longest);
    }
    last = step;
  }
}
