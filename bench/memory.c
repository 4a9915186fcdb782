/* memory MIB RATE [FILE [KIND [PROCESSES]]]: the workload of the benchmarks. Holds MIB of memory and writes
 * RATE pages a second, until its stdin ends. KIND "mixed": half random, half compressible; "structured": what
 * programs hold, records of pointers, counters, small numbers and text. PROCESSES: it has so many more beside
 * it, which sleep. Prints "ready", and keeps in FILE what it saw of time (pace.h). */
#include <string.h>
#include <sys/mman.h>

#include "pace.h"

enum { kWords = 512 };

/* Records of 64 bytes, as a tree or a table of connections has them. */
struct record {
  const struct record* next;
  const struct record* parent;
  uint64_t id, touched;
  uint32_t flags, count;
  char name[24];
};

static void fill_structured(struct record* records, size_t count) {
  for (size_t i = 0; i < count; i++) {
    struct record* record = &records[i];
    *record = (struct record){.next = &records[next() % count], .parent = &records[i / 2], .id = i};
    record->touched = 1700000000000000 + next() % 100000000;
    record->flags = (uint32_t)(next() % 8);
    record->count = (uint32_t)(next() % 1000);
    memcpy(record->name, "session-", 8);
    for (int at = 15, left = (int)(i % 100000000); at >= 8; at--, left /= 10)
      record->name[at] = (char)('0' + left % 10);
  }
}

static void fill_mixed(uint64_t* memory, size_t pages) {
  for (size_t page = 0; page < pages; page++) {
    for (int word = 0; word < kWords; word++) memory[page * kWords + word] = page % 2 ? next() : page;
  }
}

static int start_others(unsigned long count) {
  for (; count > 0; count--) {
    const pid_t child = fork();
    if (child < 0) return -1;
    if (child > 0) continue;
    execl("/bin/busybox", "sleep", "100000", (char*)0);
    _exit(127);
  }
  return 0;
}

int main(int argc, char** argv) {
  size_t pages = (argc > 1 ? strtoul(argv[1], 0, 10) : 64) * 256;
  unsigned rate = argc > 2 ? (unsigned)strtoul(argv[2], 0, 10) : 0;
  if (argc > 5 && start_others(strtoul(argv[5], 0, 10)) != 0) return 1;
  uint64_t* memory = mmap(0, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 1;
  if (argc > 4 && strcmp(argv[4], "structured") == 0) {
    fill_structured((struct record*)memory, pages * 4096 / sizeof(struct record));
  } else {
    fill_mixed(memory, pages);
  }
  begin(argc > 3 ? argv[3] : 0);
  do {
    for (unsigned n = 0; n < rate / 1000; n++) memory[next() % pages * kWords + 2]++;
  } while (step());
}
