/* The workload of the benchmarks: holds MIB of memory, half random and half compressible, and writes RATE
 * pages a second. Prints "ready", then at every line read from stdin the longest gap between two steps, in
 * microseconds, since the last. */
#include <poll.h>
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

int main(int argc, char** argv) {
  size_t pages = (argc > 1 ? strtoul(argv[1], 0, 10) : 64) * 256;
  unsigned rate = argc > 2 ? (unsigned)strtoul(argv[2], 0, 10) : 0;
  uint64_t* memory = mmap(0, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 1;
  for (size_t page = 0; page < pages; page++) {
    for (int word = 0; word < 512; word++) memory[page * 512 + word] = page % 2 ? next() : page;
  }
  puts("ready");
  fflush(stdout);
  uint64_t last = now(), longest = 0;
  for (;;) {
    struct pollfd in = {0, POLLIN, 0};
    for (unsigned n = 0; n < rate / 1000; n++) memory[next() % pages * 512]++;
    if (poll(&in, 1, 1) > 0) {
      char line[64];
      if (read(0, line, sizeof line) <= 0) return 0;
      printf("gap %llu\n", (unsigned long long)longest);
      fflush(stdout);
      longest = 0;
      last = now();
    }
    uint64_t step = now();
    if (step - last > longest) longest = step - last;
    last = step;
  }
}
