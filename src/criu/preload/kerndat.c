// Loaded into CRIU (LD_PRELOAD). What CRIU learns of the kernel by probing it (20 to 35 ms of processor time
// at each dump and each restore) it keeps in /run/criu.kdat, but only where /run is a tmpfs. Where
// STASIS_KERNDAT names a file, that one serves instead, whatever it lies on: it is the engine's own, so
// nobody else's probing is believed.
//
// The file says for which boot, which kernel and which CRIU it is true, and has a sum over all of it. One
// that is of others, or damaged, is as none: CRIU probes, and writes it anew. CRIU sees a file in memory;
// what it has written there becomes the file when CRIU renames it, made aside and renamed too. A CRIU that
// was killed meanwhile leaves at most the file aside, which the next one writes over.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "hooks.h"

static const char kName[] = "/run/criu.kdat";
static const char kNameAside[] = "/run/criu.kdat.tmp";

enum { MOST = 64 << 10 };

// Of our file: this, and CRIU's bytes behind it.
struct header {
  char key[256];  // what it is true for, zero-filled
  uint64_t size;  // of CRIU's bytes
  uint64_t sum;   // of those, and of all above
};

static char* file_name;
static int written = -1;  // what CRIU writes, until it renames it

// A copy: CRIU overwrites its environment, to show what it does in its command line.
__attribute__((constructor)) static void read_name(void) {
  const char* name = getenv("STASIS_KERNDAT");
  if (name != NULL) file_name = strdup(name);
}

static int open_plain(const char* path, int flags) {
  return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
}

static bool read_all(int file, void* bytes, size_t size) {
  for (size_t done = 0; done < size;) {
    const ssize_t got = pread(file, (char*)bytes + done, size - done, (off_t)done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    done += (size_t)got;
  }
  return true;
}

static bool write_all(int file, const void* bytes, size_t size) {
  for (const char* next = bytes; size > 0;) {
    const ssize_t put = write(file, next, size);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    next += put;
    size -= (size_t)put;
  }
  return true;
}

// The program is told by its file: a new version of it comes as a new one. Another build of CRIU behind the
// same loader CRIU itself tells by a number in its bytes.
static bool make_key(char key[256]) {
  char boot[64] = "";
  struct utsname kernel;
  struct stat program;
  const int file = open_plain("/proc/sys/kernel/random/boot_id", O_RDONLY);
  if (file < 0) return false;
  const ssize_t got = read(file, boot, sizeof boot - 1);
  syscall(SYS_close, file);
  if (got <= 0 || uname(&kernel) != 0 || stat("/proc/self/exe", &program) != 0) return false;
  boot[strcspn(boot, "\n")] = '\0';
  memset(key, 0, 256);
  const int length =
      snprintf(key, 256, "kerndat 1, boot %s, kernel %s, criu %llx.%llx.%llx.%llx", boot, kernel.release,
               (unsigned long long)program.st_dev, (unsigned long long)program.st_ino,
               (unsigned long long)program.st_size, (unsigned long long)program.st_mtime);
  return length > 0 && length < 256;
}

// FNV-1a.
static uint64_t add_to_sum(uint64_t sum, const void* bytes, size_t size) {
  for (const unsigned char* next = bytes; size > 0; ++next, --size) sum = (sum ^ *next) * 0x100000001b3;
  return sum;
}

static uint64_t sum_of(const struct header* header, const void* bytes) {
  return add_to_sum(add_to_sum(0xcbf29ce484222325, header, offsetof(struct header, sum)), bytes,
                    header->size);
}

enum found { NOTHING, DAMAGED, GOOD };

static enum found read_file(struct header* header, unsigned char bytes[MOST]) {
  const int file = open_plain(file_name, O_RDONLY);
  if (file < 0) return NOTHING;
  struct stat state;
  char key[256], whole[sizeof *header + MOST];
  enum found found = DAMAGED;
  const bool ours = fstat(file, &state) == 0 && S_ISREG(state.st_mode) && state.st_uid == geteuid();
  const size_t size = ours ? (size_t)state.st_size : 0;
  if (size >= sizeof *header && size <= sizeof whole && read_all(file, whole, size)) {
    memcpy(header, whole, sizeof *header);
    memcpy(bytes, whole + sizeof *header, size - sizeof *header);
    if (header->size == size - sizeof *header && header->sum == sum_of(header, bytes))
      found = make_key(key) && memcmp(key, header->key, sizeof key) == 0 ? GOOD : NOTHING;
  }
  syscall(SYS_close, file);
  return found;
}

static int open_known(void) {
  struct header header;
  unsigned char bytes[MOST];
  const enum found found = read_file(&header, bytes);
  if (found == DAMAGED) syscall(SYS_unlinkat, AT_FDCWD, file_name, 0);
  const int memory = found == GOOD ? memfd_create("criu.kdat", MFD_CLOEXEC) : -1;
  if (memory >= 0 && write_all(memory, bytes, header.size) && lseek(memory, 0, SEEK_SET) == 0) return memory;
  if (memory >= 0) syscall(SYS_close, memory);
  errno = ENOENT;
  return -1;
}

static void forget_written(void) {
  if (written >= 0) syscall(SYS_close, written);
  written = -1;
}

// A file in memory is one of a tmpfs, which CRIU asks for.
static int open_aside(void) {
  forget_written();
  const int memory = memfd_create("criu.kdat", MFD_CLOEXEC);
  if (memory < 0) return -1;
  written = fcntl(memory, F_DUPFD_CLOEXEC, 0);
  return memory;
}

static void keep_written(void) {
  struct header header;
  unsigned char bytes[MOST];
  char aside[PATH_MAX];
  struct stat state;
  if (written < 0 || fstat(written, &state) != 0 || state.st_size > MOST) return;
  header.size = (uint64_t)state.st_size;
  if (!read_all(written, bytes, header.size) || !make_key(header.key)) return;
  header.sum = sum_of(&header, bytes);
  const int length = snprintf(aside, sizeof aside, "%s.new", file_name);
  if (length < 0 || (size_t)length >= sizeof aside) return;
  const int file = open_plain(aside, O_WRONLY | O_CREAT | O_TRUNC);
  if (file < 0) return;
  const bool whole = write_all(file, &header, sizeof header) && write_all(file, bytes, header.size);
  syscall(SYS_close, file);
  if (!whole || syscall(SYS_renameat2, AT_FDCWD, aside, AT_FDCWD, file_name, 0) != 0)
    syscall(SYS_unlinkat, AT_FDCWD, aside, 0);
}

bool kerndat_opens(const char* path, int flags, int* result) {
  if (file_name == NULL || path == NULL) return false;
  if (strcmp(path, kName) == 0 && (flags & O_ACCMODE) == O_RDONLY) {
    *result = open_known();
    return true;
  }
  if (strcmp(path, kNameAside) != 0) return false;
  *result = open_aside();
  return true;
}

// Nothing of it is worth a word where it fails: CRIU has what it needs.
bool kerndat_renames(const char* from, const char* to, int* result) {
  if (file_name == NULL || strcmp(from, kNameAside) != 0 || strcmp(to, kName) != 0) return false;
  keep_written();
  forget_written();
  *result = 0;
  return true;
}

bool kerndat_unlinks(const char* path, int* result) {
  if (file_name == NULL) return false;
  const bool aside = strcmp(path, kNameAside) == 0;
  if (!aside && strcmp(path, kName) != 0) return false;
  if (aside) forget_written();
  *result = aside ? 0 : (int)syscall(SYS_unlinkat, AT_FDCWD, file_name, 0);
  return true;
}
