// Loaded into CRIU (LD_PRELOAD). At a restore CRIU reaches into the container's file systems by names below
// /tmp/.criu.mntns.XXXXXX, as root of the host and with the host's root directory: so it makes files again
// that were deleted but open, with owner, mode and content. A directory on the way that has become an
// absolute link since the dump would lead it out onto the host. The names in CRIU's images have no links in
// them, since the kernel told them resolved: so whatever CRIU makes, changes, removes or mounts by such a
// name is reached through no link, the last component included, or fails with ELOOP.
//
// Each exported function is for all other paths what libc's of that name is: the programs that CRIU starts,
// tar among them, have this library too.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "hooks.h"

#define EXPORTED __attribute__((visibility("default")))

typedef int (*fchmodat_function)(int directory, const char* path, mode_t mode, int flags);

static const char kMounts[] = "/tmp/.criu.mntns.";

// What follows "/tmp/.criu.mntns.XXXXXX/" in a guarded path, else NULL.
static const char* below_mounts(const char* path) {
  if (path == NULL || strncmp(path, kMounts, sizeof kMounts - 1) != 0) return NULL;
  const char* slash = strchr(path + sizeof kMounts - 1, '/');
  return slash != NULL && slash[1] != '\0' ? slash + 1 : NULL;
}

// Opens the guarded `path`, whose part below the mounts is `below`, through no link. The directory before
// that part is CRIU's own: there the host may have links (/tmp itself).
static int open_without_links(const char* path, const char* below, int flags, mode_t mode) {
  char mounts[PATH_MAX];
  size_t length = (size_t)(below - path);
  if (length >= sizeof mounts) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(mounts, path, length);
  mounts[length] = '\0';
  int directory = (int)syscall(SYS_openat, AT_FDCWD, mounts, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  if (directory < 0) return -1;
  struct open_how how = {.flags = (uint64_t)(unsigned)flags,
                         .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH};
  if (flags & O_PATH)
    how.flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;  // as open(2) ignores the rest
  if (flags & (O_CREAT | __O_TMPFILE)) how.mode = mode & 07777;
  int opened = (int)syscall(SYS_openat2, directory, below, &how, sizeof how);
  int error = errno;
  close(directory);
  errno = error;
  return opened;
}

// Where a call is to act: a guarded path becomes its parent directory, opened, and the last component; any
// other stays as it is.
struct place {
  int directory;
  const char* name;
  int opened;  // `directory` where it is ours to close, else -1
};

static int find_place(int directory, const char* path, struct place* place) {
  const char* below = below_mounts(path);
  *place = (struct place){.directory = directory, .name = path, .opened = -1};
  if (below == NULL) return 0;
  char parent[PATH_MAX];
  const char* slash = strrchr(below, '/');
  place->name = slash == NULL ? below : slash + 1;
  size_t length = (size_t)(place->name - path);
  if (length >= sizeof parent || *place->name == '\0' || strcmp(place->name, "..") == 0) {
    errno = length >= sizeof parent ? ENAMETOOLONG : ELOOP;
    return -1;
  }
  memcpy(parent, path, length);
  parent[length] = '\0';
  const int flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  place->opened = slash == NULL ? (int)syscall(SYS_openat, AT_FDCWD, parent, flags, 0)
                                : open_without_links(parent, parent + (below - path), flags, 0);
  place->directory = place->opened;
  return place->opened < 0 ? -1 : 0;
}

static int done(const struct place* place, long result) {
  int error = errno;
  if (place->opened >= 0) close(place->opened);
  errno = error;
  return (int)result;
}

// ---- Opening.

static int open_at(int directory, const char* path, int flags, mode_t mode) {
  const char* below = below_mounts(path);
  if (below != NULL) return open_without_links(path, below, flags, mode);
  return (int)syscall(SYS_openat, directory, path, flags, mode);
}

static mode_t mode_of(int flags, va_list list) {
  return (flags & (O_CREAT | __O_TMPFILE)) ? va_arg(list, mode_t) : 0;
}

EXPORTED int open64(const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  mode_t mode = mode_of(flags, list);
  va_end(list);
  int answer = -1;
  if (kerndat_opens(path, flags, &answer) || clean_mount_is_opened(path, flags, &answer)) return answer;
  return open_at(AT_FDCWD, path, flags, mode);
}

EXPORTED int openat64(int directory, const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  mode_t mode = mode_of(flags, list);
  va_end(list);
  network_is_read(directory);
  image_is_read(path);
  int answer = -1;
  if (task_image_opens(path, flags, mode, &answer)) return answer;
  answer = open_at(directory, path, flags, mode);
  tmpfs_image_was_opened(path, flags, answer);
  return answer;
}

EXPORTED int creat64(const char* path, mode_t mode) {
  return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

// ---- Making and removing.

EXPORTED int mknodat(int directory, const char* path, mode_t mode, dev_t device) {
  struct place place;
  if (find_place(directory, path, &place) != 0) return -1;
  return done(&place, syscall(SYS_mknodat, place.directory, place.name, mode, device));
}

EXPORTED int mknod(const char* path, mode_t mode, dev_t device) {
  return mknodat(AT_FDCWD, path, mode, device);
}

EXPORTED int mkdirat(int directory, const char* path, mode_t mode) {
  struct place place;
  if (find_place(directory, path, &place) != 0) return -1;
  return done(&place, syscall(SYS_mkdirat, place.directory, place.name, mode));
}

EXPORTED int mkdir(const char* path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

EXPORTED int symlinkat(const char* target, int directory, const char* path) {
  struct place place;
  if (find_place(directory, path, &place) != 0) return -1;
  return done(&place, syscall(SYS_symlinkat, target, place.directory, place.name));
}

EXPORTED int symlink(const char* target, const char* path) { return symlinkat(target, AT_FDCWD, path); }

EXPORTED int linkat(int from_directory, const char* from, int to_directory, const char* to, int flags) {
  struct place source;
  struct place target;
  if (find_place(from_directory, from, &source) != 0) return -1;
  if (source.opened >= 0) flags &= ~AT_SYMLINK_FOLLOW;
  if (find_place(to_directory, to, &target) != 0) return done(&source, -1);
  long result = syscall(SYS_linkat, source.directory, source.name, target.directory, target.name, flags);
  return done(&source, done(&target, result));
}

EXPORTED int rename(const char* from, const char* to) {
  struct place source;
  struct place target;
  int answer = -1;
  if (kerndat_renames(from, to, &answer)) return answer;
  if (find_place(AT_FDCWD, from, &source) != 0) return -1;
  if (find_place(AT_FDCWD, to, &target) != 0) return done(&source, -1);
  long result = syscall(SYS_renameat2, source.directory, source.name, target.directory, target.name, 0);
  return done(&source, done(&target, result));
}

EXPORTED int unlinkat(int directory, const char* path, int flags) {
  struct place place;
  if (find_place(directory, path, &place) != 0) return -1;
  return done(&place, syscall(SYS_unlinkat, place.directory, place.name, flags));
}

EXPORTED int unlink(const char* path) {
  int answer = -1;
  return kerndat_unlinks(path, &answer) ? answer : unlinkat(AT_FDCWD, path, 0);
}

EXPORTED int rmdir(const char* path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

// ---- Owner, mode and times.

EXPORTED int fchownat(int directory, const char* path, uid_t user, gid_t group, int flags) {
  struct place place;
  if (find_place(directory, path, &place) != 0) return -1;
  if (place.opened >= 0) flags |= AT_SYMLINK_NOFOLLOW;
  return done(&place, syscall(SYS_fchownat, place.directory, place.name, user, group, flags));
}

static fchmodat_function next_fchmodat(void) {
  static fchmodat_function next;
  if (next == NULL) {
    void* symbol = dlsym(RTLD_NEXT, "fchmodat");
    memcpy(&next, &symbol, sizeof next);
  }
  return next;
}

// The system call follows a last component that is a link, and an O_PATH descriptor takes no mode: so /proc
// leads from the descriptor to the file itself.
EXPORTED int fchmodat(int directory, const char* path, mode_t mode, int flags) {
  const char* below = below_mounts(path);
  if (below == NULL) return next_fchmodat()(directory, path, mode, flags);
  int file = open_without_links(path, below, O_PATH | O_CLOEXEC, 0);
  if (file < 0) return -1;
  char name[64];
  snprintf(name, sizeof name, "/proc/self/fd/%d", file);
  struct place opened = {.opened = file};
  return done(&opened, syscall(SYS_fchmodat, AT_FDCWD, name, mode));
}

EXPORTED int lutimes(const char* path, const struct timeval times[2]) {
  struct place place;
  struct timespec exact[2];
  if (find_place(AT_FDCWD, path, &place) != 0) return -1;
  for (int i = 0; i < 2 && times != NULL; i++) {
    exact[i] = (struct timespec){.tv_sec = times[i].tv_sec, .tv_nsec = times[i].tv_usec * 1000};
  }
  return done(&place, syscall(SYS_utimensat, place.directory, place.name, times == NULL ? NULL : exact,
                              AT_SYMLINK_NOFOLLOW));
}

// ---- Mounts.

// 0 where `path` is not guarded, or leads somewhere through no link.
static int check_mount_path(const char* path) {
  const char* below = below_mounts(path);
  if (below == NULL) return 0;
  int opened = open_without_links(path, below, O_PATH | O_CLOEXEC, 0);
  if (opened < 0) return -1;
  close(opened);
  return 0;
}

// A check is enough: no process of the container runs yet.
EXPORTED int mount(const char* source, const char* target, const char* type, unsigned long flags,
                   const void* data) {
  if (check_mount_path(source) != 0 || check_mount_path(target) != 0) return -1;
  if (clean_mount_is_made(source, target, flags)) return 0;
  return (int)syscall(SYS_mount, source, target, type, flags, data);
}
