// Loaded into CRIU (LD_PRELOAD). To read a tmpfs that has mounts below it (/dev, /sys/fs/cgroup) a dump binds
// it to a temporary directory, opens that, and unmounts it again; at the end of each unmounting the kernel
// waits until every processor has passed a certain point (an RCU period: 2 to 10 ms where the machine is
// busy). Here the mount is copied without a place (open_tree(2)), and is kept open until CRIU ends, when no
// container waits for that any more.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hooks.h"

#define EXPORTED __attribute__((visibility("default")))

static int copy = -1;
static char place[64];  // that CRIU takes it to be mounted at

static bool is_temporary(const char* path) {
  return strncmp(path, "/tmp/cr-tmpfs.", 14) == 0 || strncmp(path, "/cr-tmpfs.", 10) == 0;
}

bool clean_mount_is_made(const char* source, const char* target, unsigned long flags) {
  if (flags != MS_BIND || source == NULL || target == NULL || !is_temporary(target) ||
      strlen(target) >= sizeof place)
    return false;
  copy = (int)syscall(SYS_open_tree, AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (copy < 0) return false;  // an older kernel
  strcpy(place, target);
  return true;
}

bool clean_mount_is_opened(const char* path, int flags, int* result) {
  if (copy < 0 || path == NULL || strcmp(path, place) != 0) return false;
  *result = (int)syscall(SYS_openat, copy, ".", flags, 0);
  return true;
}

EXPORTED int umount2(const char* path, int flags) {
  if (copy < 0 || strcmp(path, place) != 0) return (int)syscall(SYS_umount2, path, flags);
  copy = -1;  // its descriptor stays open
  return 0;
}
