// Loaded into CRIU (LD_PRELOAD). A file that was removed while it is open has no link, by which CRIU knows
// that it has to save its content. overlayfs tells otherwise of a file of the image: removing it makes a
// whiteout in the container's layer, and the file keeps its link below. CRIU takes that for another name, and
// refuses; after a package was upgraded inside a container, no process that still uses the old library could
// be saved.
//
// A file of the layer itself that was removed and has another name left looks the same. It is told apart by
// STASIS_LAYER_MADE, when the layer was made, in nanoseconds since 1970: no inode of an image is changed
// afterwards, and each link that is made or removed changes that of a file in the layer.
#define _GNU_SOURCE
#include <linux/magic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

static int64_t layer_made;

__attribute__((constructor)) static void read_time(void) {
  const char* text = getenv("STASIS_LAYER_MADE");
  if (text != NULL) layer_made = strtoll(text, NULL, 10);
}

static bool is_older_than_layer(const struct timespec* changed) {
  return (int64_t)changed->tv_sec * 1000000000 + changed->tv_nsec < layer_made;
}

static bool was_removed(int descriptor) {
  static const char kDeleted[] = " (deleted)";
  const size_t end = sizeof kDeleted - 1;
  char path[32], link[4096];
  snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
  const long size = syscall(SYS_readlink, path, link, sizeof link);
  return size >= (long)end && memcmp(link + size - end, kDeleted, end) == 0;
}

static bool is_on_overlay(int descriptor) {
  struct statfs system;
  return fstatfs(descriptor, &system) == 0 && system.f_type == OVERLAYFS_SUPER_MAGIC;
}

EXPORTED int fstat64(int descriptor, struct stat64* state) {
  const int result = (int)syscall(SYS_fstat, descriptor, state);
  if (result == 0 && layer_made != 0 && S_ISREG(state->st_mode) && state->st_nlink != 0 &&
      is_older_than_layer(&state->st_ctim) && was_removed(descriptor) && is_on_overlay(descriptor))
    state->st_nlink = 0;
  return result;
}
