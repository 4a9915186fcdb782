// Writes memory of every kind as fast as it can, with threads and with children, and says WRONG where it does
// not find what it wrote: so memory that is not of one instant, with the registers and with all other memory,
// is seen within one pass.
//
//   memory PAGES [huge]     PAGES of 4 KiB for each kind; "huge": also huge pages of the pool, 3 of 2 MiB for
//   each of two kinds
//
// Each worker has an area of its own. Into a page it fills, word by word, what follows from a ticket that it
// has drawn from a counter in shared memory. What must be in each page it notes in private memory; its latest
// ticket in shared memory too. Before it writes a page again, it looks at all of it, and at both notes.
// Prints the number of passes that the slowest worker has made.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096u
#define WORDS (PAGE / sizeof(uint64_t))
#define MAX_WORKERS 64

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

// In shared memory.
struct shared {
  _Atomic uint64_t ticket;
  _Atomic uint64_t latest[MAX_WORKERS];  // each worker's ticket
  _Atomic uint64_t passes[MAX_WORKERS];
};
static struct shared* shared;

struct worker {
  const char* name;
  int number;
  size_t pages;
  unsigned char* area;
  uint64_t* expected;
  bool closed;   // PROT_NONE between writes
  bool moves;    // mremap after each pass
  bool sparse;   // a page here and there in a reservation of a terabyte
  bool written;  // its pages are written; else they are looked at only
};
static struct worker workers[MAX_WORKERS];
static int count;
static size_t pages;
static const unsigned char* guard;  // a page of MADV_GUARD_INSTALL, where the kernel has such

static void die(const char* what) {
  printf("WRONG cannot %s: %s\n", what, strerror(errno));
  exit(1);
}

static uint64_t word(uint64_t ticket, size_t i) { return (ticket + 1) * 0x9e3779b97f4a7c15ull + i; }

static void fill(unsigned char* page, uint64_t ticket) {
  volatile uint64_t* words = (volatile uint64_t*)page;
  for (size_t i = 0; i < WORDS; i++) words[i] = word(ticket, i);
}

static void look(const struct worker* worker, size_t page, const unsigned char* at, uint64_t ticket) {
  const volatile uint64_t* words = (const volatile uint64_t*)at;
  for (size_t i = 0; i < WORDS; i++) {
    if (words[i] == word(ticket, i)) continue;
    printf("WRONG %s: page %zu word %zu is %llx, not that of ticket %llu\n", worker->name, page, i,
           (unsigned long long)words[i], (unsigned long long)ticket);
    return;
  }
}

static unsigned char* page_of(const struct worker* worker, size_t page) {
  return worker->area + page * (worker->sparse ? (1ull << 40) / worker->pages : PAGE);
}

static void* work(void* argument) {
  struct worker* worker = argument;
  uint64_t latest = shared->latest[worker->number];
  for (;;) {
    for (size_t page = 0; page < worker->pages; page++) {
      unsigned char* at = page_of(worker, page);
      if (shared->latest[worker->number] != latest)
        printf("WRONG %s: shared memory is of another instant\n", worker->name);
      if (worker->expected[page] > shared->ticket)
        printf("WRONG %s: shared memory is older than private\n", worker->name);
      if (worker->closed && mprotect(at, PAGE, PROT_READ | PROT_WRITE) != 0) die("open a page");
      look(worker, page, at, worker->expected[page]);
      if (worker->written) {
        latest = atomic_fetch_add(&shared->ticket, 1) + 1;
        fill(at, latest);
        worker->expected[page] = latest;
        shared->latest[worker->number] = latest;
      }
      if (worker->closed && mprotect(at, PAGE, PROT_NONE) != 0) die("close a page");
    }
    if (worker->moves) {
      unsigned char* hole = mmap(NULL, worker->pages * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      worker->area = mremap(worker->area, worker->pages * PAGE, worker->pages * PAGE,
                            MREMAP_MAYMOVE | MREMAP_FIXED, hole);
      if (worker->area == MAP_FAILED) die("move memory");
    }
    shared->passes[worker->number]++;
    if (!worker->written) usleep(20000);
  }
  return NULL;
}

static struct worker* add_sized(const char* name, void* area, size_t size) {
  if (area == MAP_FAILED) die(name);
  struct worker* worker = &workers[count];
  *worker = (struct worker){.name = name, .number = count, .pages = size, .area = area, .written = true};
  worker->expected = calloc(size, sizeof(uint64_t));
  count++;
  return worker;
}

static struct worker* add(const char* name, void* area) {
  struct worker* worker = add_sized(name, area, pages);
  for (size_t page = 0; page < pages; page++) fill(page_of(worker, page), 0);
  return worker;
}

static void* map(size_t size, int flags, int file) {
  return mmap(NULL, size, PROT_READ | PROT_WRITE, flags | (file < 0 ? MAP_ANONYMOUS : 0), file, 0);
}

// A file with that many pages, those of ticket 0.
static int file_of(int file) {
  if (file < 0) die("make a file");
  unsigned char page[PAGE] __attribute__((aligned(8)));
  fill(page, 0);
  for (size_t i = 0; i < pages; i++) {
    if (write(file, page, PAGE) != (ssize_t)PAGE) die("write a file");
  }
  return file;
}

static void* advised(int advice) {
  void* area = map(pages * PAGE, MAP_PRIVATE, -1);
  if (madvise(area, pages * PAGE, advice) != 0) die("advise");
  return area;
}

// Recursion whose every frame is looked at on the way back: a stack that grows and shrinks.
static void descend(struct worker* worker, int depth, uint64_t salt) {
  volatile uint64_t frame[WORDS];
  for (size_t i = 0; i < WORDS; i++) frame[i] = word(salt, i);
  if (depth > 0) descend(worker, depth - 1, salt + 1);
  for (size_t i = 0; i < WORDS; i++) {
    if (frame[i] != word(salt, i)) printf("WRONG %s: the frame at depth %d\n", worker->name, depth);
  }
}

static void* work_on_stack(void* argument) {
  struct worker* worker = argument;
  for (uint64_t salt = 1;; salt += 1000) {
    descend(worker, (int)(salt / 1000 % 100), salt);
    shared->passes[worker->number]++;
  }
  return NULL;
}

static void add_areas(bool huge) {
  const size_t size = pages * PAGE;
  add("private", map(size, MAP_PRIVATE, -1));
  add("private 2", map(size, MAP_PRIVATE, -1));
  add("shared", map(size, MAP_SHARED, -1));
  add("memfd, shared", map(size, MAP_SHARED, file_of(memfd_create("shared", 0))));
  const int memfd = file_of(memfd_create("private", 0));
  add("memfd, private", map(size, MAP_PRIVATE, memfd));
  add("memfd, private, looked at", map(size, MAP_PRIVATE, memfd))->written = false;
  const int tmpfs = file_of(open("/dev/shm/mapped", O_RDWR | O_CREAT, 0600));
  add("tmpfs, private", map(size, MAP_PRIVATE, tmpfs));
  add("tmpfs, shared", map(size, MAP_SHARED, tmpfs));
  const int deleted = file_of(open("/dev/shm/deleted", O_RDWR | O_CREAT, 0600));
  unlink("/dev/shm/deleted");
  add("tmpfs, deleted, shared", map(size, MAP_SHARED, deleted));
  close(deleted);
  add("DONTFORK", advised(MADV_DONTFORK));
  add("WIPEONFORK", advised(MADV_WIPEONFORK));
  add("DONTDUMP", advised(MADV_DONTDUMP));
  add("MERGEABLE", map(size, MAP_PRIVATE, -1));
  madvise(workers[count - 1].area, size, MADV_MERGEABLE);  // not in every kernel
  void* locked = map(size, MAP_PRIVATE, -1);
  if (mlock(locked, size) != 0) printf("no memory is locked here: %s\n", strerror(errno));
  add("locked", locked);
  add("PROT_NONE", map(size, MAP_PRIVATE, -1))->closed = true;
  mprotect(workers[count - 1].area, size, PROT_NONE);
  add("moves", map(size, MAP_PRIVATE, -1))->moves = true;
  const int file = file_of(open("/tmp/mapped", O_RDWR | O_CREAT, 0600));
  add("file, private", map(size, MAP_PRIVATE, file));
  add("file, shared", map(size, MAP_SHARED, file_of(open("/tmp/mapped-2", O_RDWR | O_CREAT, 0600))));
  // Every second page was written, and is read-only since; then the file is changed: what was written stays,
  // the rest follows.
  struct worker* read_only =
      add_sized("file, private, read-only, written before", map(size, MAP_PRIVATE, file), pages);
  unsigned char later[PAGE] __attribute__((aligned(8)));
  fill(later, 5);
  for (size_t page = 0; page < pages; page++) {
    if (page % 2 == 0) {
      fill(page_of(read_only, page), read_only->expected[page] = 7);
    } else if (pwrite(file, later, PAGE, (off_t)(page * PAGE)) != (ssize_t)PAGE) {
      die("write a file");
    } else {
      read_only->expected[page] = 5;
    }
  }
  mprotect(read_only->area, size, PROT_READ);
  read_only->written = false;
  const int segment = shmget(IPC_PRIVATE, size, 0600);
  void* attached = shmat(segment, NULL, 0);
  shmctl(segment, IPC_RMID, NULL);
  add("SysV", attached);
  // Transparent huge pages.
  const size_t huge_size = 2u << 20;
  unsigned char* thp = map(3 * huge_size, MAP_PRIVATE, -1);
  thp = (unsigned char*)(((uintptr_t)thp + huge_size - 1) & ~(uintptr_t)(huge_size - 1));
  madvise(thp, 2 * huge_size, MADV_HUGEPAGE);
  struct worker* large = add_sized("transparent huge pages", thp, 2 * huge_size / PAGE);
  for (size_t i = 0; i < large->pages; i++) fill(page_of(large, i), 0);
  if (huge) {
    for (int kind = 0; kind < 2; kind++) {
      void* pool = map(3 * huge_size, (kind ? MAP_SHARED : MAP_PRIVATE) | MAP_HUGETLB, -1);
      struct worker* worker =
          add_sized(kind ? "hugetlb, shared" : "hugetlb, private", pool, 3 * huge_size / PAGE);
      for (size_t i = 0; i < worker->pages; i++) fill(page_of(worker, i), 0);
    }
  }
  struct worker* sparse = add_sized(
      "1 TiB reserved",
      mmap(NULL, 1ull << 40, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), 64);
  sparse->sparse = true;
  for (size_t i = 0; i < sparse->pages; i++) fill(page_of(sparse, i), 0);
  unsigned char* guarded = map(size + PAGE, MAP_PRIVATE, -1);
  add("before a guard page", guarded);
  if (madvise(guarded + size, PAGE, MADV_GUARD_INSTALL) == 0) {
    guard = guarded + size;
  } else {
    printf("no guard pages here: %s\n", strerror(errno));
  }
}

// Whether a page can be read; asked of the kernel, without a signal.
static bool readable(const unsigned char* page) {
  int pipes[2];
  if (pipe(pipes) != 0) die("make a pipe");
  const bool written = write(pipes[1], page, 1) == 1;
  close(pipes[0]);
  close(pipes[1]);
  return written;
}

static struct worker* add_stack(const char* name) { return add_sized(name, NULL, 1); }

int main(int arguments, char** argument) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  pages = arguments > 1 ? strtoul(argument[1], NULL, 10) : 64;
  const bool huge = arguments > 2 && strcmp(argument[2], "huge") == 0;
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

  // Children first: an area of the common shared mapping for each, a private one copied from ours, and one of
  // all that none writes.
  unsigned char* common = map(4 * pages * PAGE, MAP_SHARED, -1);
  unsigned char* never = map(8 * pages * PAGE, MAP_PRIVATE, -1);
  for (size_t i = 0; i < 4 * pages; i++) fill(common + i * PAGE, 0);
  for (size_t i = 0; i < 8 * pages; i++) fill(never + i * PAGE, i);
  static const char* const names[][4] = {
      {"child 1, shared", "child 1, copied on write", "child 1, never written", "child 1, stack"},
      {"child 2, shared", "child 2, copied on write", "child 2, never written", "child 2, stack"},
      {"child 3, shared", "child 3, copied on write", "child 3, never written", "child 3, stack"}};
  for (int child = 0; child < 3; child++) {
    const int first = count;
    add("", common + (size_t)child * pages * PAGE);
    add("", map(pages * PAGE, MAP_PRIVATE, -1));
    struct worker* still = add_sized("", never, 8 * pages);
    for (size_t i = 0; i < still->pages; i++) still->expected[i] = i;
    still->written = false;
    add_stack("");
    for (int i = 0; i < 4; i++) workers[first + i].name = names[child][i];
  }
  shared->ticket = 8 * pages;
  for (int child = 0; child < 3; child++) {
    const pid_t pid = fork();
    if (pid < 0) die("fork");
    if (pid != 0) continue;
    pthread_t thread;
    for (int i = 0; i < 3; i++) {
      if (pthread_create(&thread, NULL, work, &workers[child * 4 + i]) != 0) die("make a thread");
    }
    work_on_stack(&workers[child * 4 + 3]);  // the first thread's stack grows by itself
  }
  const int mine = count;
  add_areas(huge);
  pthread_t thread;
  for (int i = mine; i < count; i++) {
    if (pthread_create(&thread, NULL, work, &workers[i]) != 0) die("make a thread");
  }
  for (int i = 0; i < 8; i++) {
    if (pthread_create(&thread, NULL, work_on_stack, add_stack("stack")) != 0) die("make a thread");
  }
  printf("%d workers\n", count);
  for (uint64_t last = 0;;) {
    usleep(50000);
    uint64_t slowest = UINT64_MAX;
    for (int i = 0; i < count; i++) {
      if (shared->passes[i] < slowest) slowest = shared->passes[i];
    }
    if (slowest != last) printf("%llu\n", (unsigned long long)slowest);
    last = slowest;
    if (guard != NULL && readable(guard)) printf("WRONG the guard page is one no longer\n");
    if (waitpid(-1, NULL, WNOHANG) > 0) printf("WRONG a child has ended\n");
  }
}
