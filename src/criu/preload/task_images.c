// Loaded into CRIU (LD_PRELOAD). A dump makes seven small images for each process, while the container stands
// still; on a disk's file system each costs up to a millisecond (ext4 looks for an inode that was not freed
// within the last minutes). Where STASIS_TASK_IMAGES names a directory, which is one in memory
// (checkpoint/task_images.h), they are made there. What may be large, the pages of shared memory and whole
// files, goes where CRIU puts it.
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hooks.h"

static const char* directory_path;

// Of the last pages' index that was made: its pages are made next.
static bool is_of_process;

// A copy: CRIU overwrites its environment, to show what it does in its command line.
__attribute__((constructor)) static void read_path(void) {
  const char* path = getenv("STASIS_TASK_IMAGES");
  if (path != NULL) directory_path = strdup(path);
}

// "KIND-NUMBER.img"
static bool is_numbered(const char* name, const char* kind) {
  const size_t length = strlen(kind);
  if (strncmp(name, kind, length) != 0 || name[length] != '-') return false;
  const char* number = name + length + 1;
  const size_t digits = strspn(number, "0123456789");
  return digits != 0 && strcmp(number + digits, ".img") == 0;
}

static bool is_small(const char* name) {
  static const char* const kKinds[] = {"core", "ids", "mm", "fs", "fdinfo", "pagemap"};
  if (strncmp(name, "pagemap-", 8) == 0) is_of_process = is_numbered(name, "pagemap");
  if (is_numbered(name, "pages")) return is_of_process && memory_is_hidden();
  for (size_t i = 0; i < sizeof kKinds / sizeof *kKinds; ++i) {
    if (is_numbered(name, kKinds[i])) return true;
  }
  return false;
}

bool task_image_opens(const char* name, int flags, mode_t mode, int* result) {
  char path[PATH_MAX];
  if (directory_path == NULL || name == NULL || (flags & O_CREAT) == 0 || !is_small(name)) return false;
  const int length = snprintf(path, sizeof path, "%s/%s", directory_path, name);
  if (length < 0 || (size_t)length >= sizeof path) return false;
  *result = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
  return true;
}
