/* memory MIB RATE [FILE]: the workload of the benchmarks. Holds MIB of memory, half random and half
 * compressible, and writes RATE pages a second, until its stdin ends. Prints "ready", and keeps in FILE what
 * it saw of time (pace.h). */
#include <sys/mman.h>

#include "pace.h"

int main(int argc, char** argv) {
  size_t pages = (argc > 1 ? strtoul(argv[1], 0, 10) : 64) * 256;
  unsigned rate = argc > 2 ? (unsigned)strtoul(argv[2], 0, 10) : 0;
  uint64_t* memory = mmap(0, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 1;
  for (size_t page = 0; page < pages; page++) {
    for (int word = 0; word < 512; word++) memory[page * 512 + word] = page % 2 ? next() : page;
  }
  begin(argc > 3 ? argv[3] : 0);
  do {
    for (unsigned n = 0; n < rate / 1000; n++) memory[next() % pages * 512]++;
  } while (step());
}
