// Loaded into CRIU (LD_PRELOAD). Where STASIS_RESTORE_SOCKET names a socket, whoever listens there makes
// CRIU's images while runc and CRIU start, and says by one byte when they are there: the first is not opened
// before. Some of the memory of the processes is not in them (criu/restored_memory.h). Before CRIU lets the
// first of their threads go, when all of them stand still and have their mappings, the listener is told which
// threads they are, and writes the memory; then it answers with another byte. Without an answer CRIU ends at
// once, and the processes with it, as they do when it is killed (PTRACE_O_EXITKILL, ptrace(2)). Its own way
// to give up is no way here: it waits for init to end, and init for processes that CRIU traces.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "hooks.h"

static const char* socket_path;
static int connection = -1;
static bool images_are_there;
static pid_t* held;
static size_t held_count;
static bool memory_is_there;

// A copy: CRIU overwrites its environment, to show what it does in its command line.
__attribute__((constructor)) static void read_socket(void) {
  const char* path = getenv("STASIS_RESTORE_SOCKET");
  if (path == NULL) return;
  socket_path = strdup(path);
  if (socket_path == NULL) abort();
}

static bool hold(pid_t thread) {
  for (size_t i = 0; i < held_count; ++i) {
    if (held[i] == thread) return true;
  }
  pid_t* grown = reallocarray(held, held_count + 1, sizeof *held);
  if (grown == NULL) return false;
  held = grown;
  held[held_count++] = thread;
  return true;
}

// A path may be longer than an address can be; that of its directory's descriptor is not.
static int connect_to(const char* path) {
  const char* slash = strrchr(path, '/');
  char directory[PATH_MAX];
  if (slash == NULL || (size_t)(slash - path) >= sizeof directory - 1) return -1;
  memcpy(directory, path, (size_t)(slash - path) + 1);
  directory[slash - path + 1] = '\0';
  const int parent = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (parent < 0) return -1;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const int length = snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d%s", parent, slash);
  int connected = -1;
  if (length > 0 && (size_t)length < sizeof address.sun_path)
    connected = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connected >= 0 && connect(connected, (struct sockaddr*)&address, sizeof address) != 0) {
    close(connected);
    connected = -1;
  }
  close(parent);
  return connected;
}

static bool send_all(const void* bytes, size_t size) {
  const char* left = bytes;
  while (size != 0) {
    const ssize_t sent = send(connection, left, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    left += sent;
    size -= (size_t)sent;
  }
  return true;
}

static bool may_go_on(void) {
  char answer = 0;
  ssize_t got = 0;
  do got = recv(connection, &answer, 1, 0);
  while (got < 0 && errno == EINTR);
  return got == 1 && answer == '1';
}

static void give_up(const char* what) {
  dprintf(STDERR_FILENO, "stasis: no %s from %s: %m\n", what, socket_path);
  _exit(1);
}

void image_is_read(const char* name) {
  if (socket_path == NULL || images_are_there) return;
  const char* dot = strrchr(name, '.');
  if (dot == NULL || strcmp(dot, ".img") != 0) return;
  connection = connect_to(socket_path);
  if (connection < 0 || !may_go_on()) give_up("images");
  images_are_there = true;
  read_settings();
  if (!read_protections()) give_up("protections of memory");
  read_timers();
}

static void fetch_memory(void) {
  const pid_t end = 0;
  if (!send_all(held, held_count * sizeof *held) || !send_all(&end, sizeof end) || !may_go_on())
    give_up("memory for the restored processes");
  close(connection);
  memory_is_there = true;
}

// From now on they outlive CRIU, as CRIU lets one after the other go.
static void let_live(void) {
  for (size_t i = 0; i < held_count; ++i)
    syscall(SYS_ptrace, (long)PTRACE_SETOPTIONS, (long)held[i], NULL, (long)PTRACE_O_TRACESYSGOOD);
}

bool restored_ones_go_on(void) { return memory_is_there; }

bool restore_allows(long request, pid_t thread, void** data) {
  if (socket_path == NULL || memory_is_there) return true;
  const uintptr_t options = (uintptr_t)*data;
  if (request == PTRACE_SEIZE) *data = (void*)(options | PTRACE_O_EXITKILL);
  if (request == PTRACE_SETOPTIONS) {
    // This one only threads that are being restored get.
    if ((options & PTRACE_O_TRACESYSGOOD) != 0 && !hold(thread)) return false;
    *data = (void*)(options | PTRACE_O_EXITKILL);
  }
  if (request != PTRACE_DETACH || held_count == 0) return true;
  fetch_memory();
  // The timers last: what is left of them is counted until they go on.
  if (!restore_posix_locks(held, held_count) || !restore_protections(held, held_count) ||
      !restore_timers(held, held_count))
    _exit(1);
  let_live();
  return true;
}
