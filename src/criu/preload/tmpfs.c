// Loaded into CRIU (LD_PRELOAD). CRIU saves each tmpfs of a container by tar and gzip, for which the
// container stands still: 5 to 20 ms for every one, however empty (the masked directories are such), and many
// seconds for 100 MiB in /dev/shm. So where CRIU is about to fork for that tar, the archive is
// written here, and nobody is forked: ustar, in a gzip that compresses nothing, which CRIU's restore extracts
// as any other. Where something is not plain (hard links, holes, long names, mounts below, what vanishes
// meanwhile), the whole is left to tar.
//
// A restore extracts an archive of nothing but the tmpfs itself here as well: that is most of them.
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "hooks.h"

#define EXPORTED __attribute__((visibility("default")))

typedef int (*execvp_function)(const char* file, char* const argv[]);
typedef pid_t (*fork_function)(void);

// ---- gzip (RFC 1952) of stored blocks (RFC 1951, 3.2.4).

enum { BLOCK_HEADER = 5, MAX_BLOCK = 65535 };

static int image;
static uint32_t sum;  // CRC-32 of all that was put
static uint32_t size_of_all;
static size_t block_size;
static unsigned char block[BLOCK_HEADER + MAX_BLOCK];
static uint32_t sums[4][256];  // of one byte with 0 to 3 zeros behind it

static void make_sums(void) {
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t rest = byte;
    for (int bit = 0; bit < 8; ++bit) rest = (rest & 1) ? 0xedb88320 ^ (rest >> 1) : rest >> 1;
    sums[0][byte] = rest;
  }
  for (int zeros = 1; zeros < 4; ++zeros) {
    for (int byte = 0; byte < 256; ++byte) {
      const uint32_t before = sums[zeros - 1][byte];
      sums[zeros][byte] = sums[0][before & 0xff] ^ (before >> 8);
    }
  }
}

static void add_to_sum(const unsigned char* bytes, size_t size) {
  uint32_t rest = ~sum;
  for (; size >= 4; bytes += 4, size -= 4) {
    rest ^= bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
    rest = sums[3][rest & 0xff] ^ sums[2][(rest >> 8) & 0xff] ^ sums[1][(rest >> 16) & 0xff] ^
           sums[0][rest >> 24];
  }
  for (; size > 0; ++bytes, --size) rest = sums[0][(rest ^ *bytes) & 0xff] ^ (rest >> 8);
  sum = ~rest;
}

static bool write_all(const unsigned char* bytes, size_t size) {
  while (size > 0) {
    const ssize_t written = write(image, bytes, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes += written;
    size -= (size_t)written;
  }
  return true;
}

static bool end_block(bool last) {
  block[0] = last;
  block[1] = block_size & 0xff;
  block[2] = (unsigned char)(block_size >> 8);
  block[3] = (unsigned char)~block[1];
  block[4] = (unsigned char)~block[2];
  const size_t size = BLOCK_HEADER + block_size;
  block_size = 0;
  return write_all(block, size);
}

// Where the next bytes go, and how many of them have room there; NULL: writing failed.
static unsigned char* room(size_t* size) {
  if (block_size == MAX_BLOCK && !end_block(false)) return NULL;
  *size = MAX_BLOCK - block_size;
  return block + BLOCK_HEADER + block_size;
}

static void take(const unsigned char* bytes, size_t size) {
  add_to_sum(bytes, size);
  block_size += size;
  size_of_all += (uint32_t)size;
}

// `data` may be NULL: zeros.
static bool put(const void* data, size_t size) {
  const unsigned char* next = data;
  while (size > 0) {
    size_t part = 0;
    unsigned char* to = room(&part);
    if (to == NULL) return false;
    if (part > size) part = size;
    if (next == NULL) {
      memset(to, 0, part);
    } else {
      memcpy(to, next, part);
      next += part;
    }
    take(to, part);
    size -= part;
  }
  return true;
}

static const unsigned char kGzipHeader[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3};

static bool begin_gzip(void) {
  make_sums();
  return write_all(kGzipHeader, sizeof kGzipHeader);
}

static bool end_gzip(void) {
  unsigned char end[8];
  for (int i = 0; i < 4; ++i) {
    end[i] = (unsigned char)(sum >> (8 * i));
    end[4 + i] = (unsigned char)(size_of_all >> (8 * i));
  }
  return end_block(true) && write_all(end, sizeof end);
}

// ---- ustar (POSIX, pax).

enum { RECORD = 512 };

struct header {
  char name[100], mode[8], user[8], group[8], size[12], modified[12], checksum[8], type, link[100];
  char magic[6], version[2], user_name[32], group_name[32], major[8], minor[8], prefix[155], unused[12];
};
_Static_assert(sizeof(struct header) == RECORD, "a header of ustar is one record");

// Octal, zero-terminated; false where it has no room.
static bool set_number(char* field, size_t width, uint64_t number) {
  field[--width] = '\0';
  while (width > 0) {
    field[--width] = (char)('0' + (number & 7));
    number >>= 3;
  }
  return number == 0;
}
#define SET(field, number) set_number(field, sizeof(field), number)

static char type_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return '0';
    case S_IFLNK:
      return '2';
    case S_IFCHR:
      return '3';
    case S_IFBLK:
      return '4';
    case S_IFDIR:
      return '5';
    case S_IFIFO:
      return '6';
    default:
      return '\0';
  }
}

// Name and link are as long as their fields at most, and then without a zero at the end.
static bool put_header(const char* name, const struct stat* state, const char* link) {
  struct header header = {.magic = "ustar", .version = {'0', '0'}, .type = type_of(state->st_mode)};
  const bool device = S_ISCHR(state->st_mode) || S_ISBLK(state->st_mode);
  const uint64_t size = S_ISREG(state->st_mode) ? (uint64_t)state->st_size : 0;
  memcpy(header.name, name, strnlen(name, sizeof header.name));
  memcpy(header.link, link, strnlen(link, sizeof header.link));
  if (header.type == '\0' || state->st_mtime < 0 || !SET(header.mode, state->st_mode & 07777) ||
      !SET(header.user, state->st_uid) || !SET(header.group, state->st_gid) || !SET(header.size, size) ||
      !SET(header.modified, (uint64_t)state->st_mtime) ||
      !SET(header.major, device ? major(state->st_rdev) : 0) ||
      !SET(header.minor, device ? minor(state->st_rdev) : 0))
    return false;
  memset(header.checksum, ' ', sizeof header.checksum);
  unsigned checksum = 0;
  for (size_t i = 0; i < sizeof header; ++i) checksum += ((const unsigned char*)&header)[i];
  set_number(header.checksum, sizeof header.checksum - 1, checksum);
  return put(&header, sizeof header);
}

// ---- The tree.

enum { NAME_ROOM = sizeof(((struct header*)NULL)->name) + 1 };

static dev_t device;

// Only what is seen to be a file is opened: processes beside the container's tree run on, and whoever opens a
// device that took its place starts it.
static int open_file(int directory, const char* last, struct stat* state) {
  const int seen = openat(directory, last, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (seen < 0) return -1;
  int opened = -1;
  if (fstat(seen, state) == 0 && S_ISREG(state->st_mode) && state->st_dev == device && state->st_nlink == 1) {
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", seen);
    opened = open(name, O_RDONLY | O_CLOEXEC);
  }
  close(seen);
  return opened;
}

static bool put_file(int directory, const char* last, const char* name) {
  struct stat state;
  const int file = open_file(directory, last, &state);
  if (file < 0) return false;
  const uint64_t size = (uint64_t)state.st_size;
  bool good = (uint64_t)state.st_blocks * 512 >= size && put_header(name, &state, "");
  for (uint64_t left = size; good && left > 0;) {
    size_t part = 0;
    unsigned char* to = room(&part);
    if (part > left) part = left;
    const ssize_t got = to == NULL ? -1 : read(file, to, part);
    good = got > 0;
    if (!good) break;
    take(to, (size_t)got);
    left -= (size_t)got;
  }
  close(file);
  return good && put(NULL, (RECORD - size % RECORD) % RECORD);
}

static bool put_link(int directory, const char* last, const char* name, const struct stat* state) {
  char target[sizeof(((struct header*)NULL)->link) + 1] = "";
  const ssize_t size = readlinkat(directory, last, target, sizeof target);
  return size > 0 && (size_t)size < sizeof target && put_header(name, state, target);
}

static bool put_directory(int directory, const char* name);

static bool put_entry(int directory, const char* last, const char* parent) {
  char name[NAME_ROOM];
  struct stat state;
  if (fstatat(directory, last, &state, AT_SYMLINK_NOFOLLOW) != 0 || state.st_dev != device) return false;
  const bool is_directory = S_ISDIR(state.st_mode);
  const int length = snprintf(name, sizeof name, "%s%s%s", parent, last, is_directory ? "/" : "");
  if (length < 0 || (size_t)length >= sizeof name) return false;
  if (is_directory) {
    const int opened = openat(directory, last, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return opened >= 0 && put_directory(opened, name);
  }
  if (S_ISSOCK(state.st_mode)) return true;  // CRIU binds it again; tar leaves it out too
  if (state.st_nlink != 1) return false;
  if (S_ISREG(state.st_mode)) return put_file(directory, last, name);
  if (S_ISLNK(state.st_mode)) return put_link(directory, last, name, &state);
  return put_header(name, &state, "");
}

// Takes `directory`.
static bool put_directory(int directory, const char* name) {
  struct stat state;
  DIR* entries = fdopendir(directory);
  if (entries == NULL) {
    close(directory);
    return false;
  }
  bool good = fstat(directory, &state) == 0 && state.st_dev == device && put_header(name, &state, "");
  while (good) {
    errno = 0;
    const struct dirent* entry = readdir(entries);
    if (entry == NULL) {
      good = errno == 0;
      break;
    }
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    good = put_entry(directory, entry->d_name, name);
  }
  closedir(entries);
  return good;
}

// ---- In place of tar.

static bool put_all(int mount, int to) {
  struct stat state;
  image = to;
  sum = size_of_all = 0;
  block_size = 0;
  if (fstat(mount, &state) != 0) return false;
  device = state.st_dev;
  const int root = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return root >= 0 && begin_gzip() && put_directory(root, "./") && put(NULL, (size_t)2 * RECORD) &&
         end_gzip();
}

// CRIU's way of saving a tmpfs (criu/filesystems.c): it lets the mount's descriptor outlive an exec, opens
// the image, and forks.
enum { NOBODY = 0x3ffffff0 };  // greater than any process's number
static int mount_to_save = -1, image_to_fill = -1;

void tmpfs_image_was_opened(const char* name, int flags, int opened) {
  if (opened >= 0 && (flags & O_CREAT) != 0 && strncmp(name, "tmpfs-dev-", 10) == 0) image_to_fill = opened;
}

EXPORTED int fcntl64(int descriptor, int command, ...) {
  va_list list;
  va_start(list, command);
  void* argument = va_arg(list, void*);
  va_end(list);
  if (command == F_SETFD && ((long)argument & FD_CLOEXEC) == 0) mount_to_save = descriptor;
  return (int)syscall(SYS_fcntl, descriptor, command, argument);
}

// Only what can be taken back is written.
static bool is_saved(int mount, int to) {
  if (lseek(to, 0, SEEK_CUR) != 0) return false;
  if (put_all(mount, to)) return true;
  if (ftruncate(to, 0) != 0 || lseek(to, 0, SEEK_SET) != 0)
    abort();  // half an archive would be taken for one
  return false;
}

EXPORTED pid_t fork(void) {
  const int mount = mount_to_save, to = image_to_fill;
  mount_to_save = image_to_fill = -1;
  if (mount >= 0 && to >= 0 && is_saved(mount, to)) return NOBODY;
  fork_function next;
  void* symbol = dlsym(RTLD_NEXT, "fork");
  memcpy(&next, &symbol, sizeof next);
  return next();
}

EXPORTED pid_t waitpid(pid_t process, int* status, int options) {
  if (process != NOBODY) return (pid_t)syscall(SYS_wait4, process, status, options, NULL);
  if (status != NULL) *status = 0;
  return process;
}

// And of bringing it back: the image is descriptor 0.
static bool is_restore(const char* file, char* const argv[]) {
  if (strcmp(file, "tar") != 0 || argv[0] == NULL || argv[1] == NULL || argv[2] == NULL) return false;
  if (strcmp(argv[1], "--extract") != 0 || strcmp(argv[2], "--gzip") != 0) return false;
  size_t count = 3;
  while (argv[count] != NULL) ++count;
  return count == 7 && strcmp(argv[count - 2], "--directory") == 0;
}

// Of a tmpfs in which nothing is, as put_all writes it.
struct empty_archive {
  unsigned char gzip[10], block[BLOCK_HEADER];
  struct header header;
  unsigned char end[2 * RECORD], trailer[8];
};

static bool is_empty_archive(struct empty_archive* archive) {
  struct stat state;
  if (fstat(STDIN_FILENO, &state) != 0 || state.st_size != (off_t)sizeof *archive) return false;
  if (pread(STDIN_FILENO, archive, sizeof *archive, 0) != (ssize_t)sizeof *archive) return false;
  const size_t size = sizeof archive->header + sizeof archive->end;
  const unsigned char stored[BLOCK_HEADER] = {1, size & 0xff, (size >> 8) & 0xff, ~size & 0xff,
                                              (~size >> 8) & 0xff};
  make_sums();
  sum = 0;
  add_to_sum((const unsigned char*)&archive->header, size);
  uint32_t its_sum = 0;
  for (int i = 0; i < 4; ++i) its_sum |= (uint32_t)archive->trailer[i] << (8 * i);
  return memcmp(archive->gzip, kGzipHeader, sizeof archive->gzip) == 0 &&
         memcmp(archive->block, stored, sizeof stored) == 0 && its_sum == sum &&
         strcmp(archive->header.name, "./") == 0 && archive->header.type == '5';
}

static uint64_t get_number(const char* field, size_t width) {
  uint64_t number = 0;
  for (size_t i = 0; i < width && field[i] >= '0' && field[i] <= '7'; ++i)
    number = number << 3 | (uint64_t)(field[i] - '0');
  return number;
}
#define GET(field) get_number(field, sizeof(field))

static bool make_empty(const struct header* header, const char* path) {
  const int root = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (root < 0) return false;
  const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = (time_t)GET(header->modified)}};
  const bool good = fchown(root, (uid_t)GET(header->user), (gid_t)GET(header->group)) == 0 &&
                    fchmod(root, (mode_t)GET(header->mode)) == 0 && futimens(root, times) == 0;
  close(root);
  return good;
}

EXPORTED int execvp(const char* file, char* const argv[]) {
  struct empty_archive archive;
  if (is_restore(file, argv) && is_empty_archive(&archive) && make_empty(&archive.header, argv[6])) _exit(0);
  execvp_function next;
  void* symbol = dlsym(RTLD_NEXT, "execvp");
  memcpy(&next, &symbol, sizeof next);
  return next(file, argv);
}
