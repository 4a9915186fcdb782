// Loaded into CRIU (LD_PRELOAD), for unix sockets that are bound to a file.
//
// CRIU saves the name that a socket was bound to, and a restore binds it there again. The file may have got
// another name since: by rename(2) of itself or of a directory, or by a hard link whose first name was
// removed. So at a dump, whenever CRIU asks the kernel for such a file, what the kernel says of it is noted
// where it is not plainly the name that the socket was bound to, a line each (criu/file_names.h): "SOCKET
// DEVICE INODE LINKS PATH", the numbers as stat(2) gives them, the path in hexadecimal. STASIS_SOCKETS names
// the file of notes.
//
// A datagram socket may be connected to one of a process outside the container (syslog does so). CRIU knows
// no such socket in the container's network namespace, and gives up. STASIS_OUTSIDE_PEERS names a file with
// lines "SOCKET PEER", both inodes: of those CRIU is told that they have no peer, and its images are
// completed afterwards. A restore connects them again. Where nobody listens at that place then, the socket
// stays without a peer, which is what the program sees too when a server of its ends.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "hooks.h"

#define EXPORTED __attribute__((visibility("default")))

struct pair {
  uint32_t socket;
  uint32_t peer;
};

static const char* notes_path;
static struct pair* outside;
static size_t outside_count;

static void read_outside_peers(const char* path) {
  FILE* file = path == NULL ? NULL : fopen(path, "re");
  if (file == NULL) return;
  struct pair next;
  while (fscanf(file, "%u %u", &next.socket, &next.peer) == 2) {
    struct pair* grown = reallocarray(outside, outside_count + 1, sizeof *outside);
    if (grown == NULL) break;
    outside = grown;
    outside[outside_count++] = next;
  }
  fclose(file);
}

// A copy: CRIU overwrites its environment, to show what it does in its command line.
__attribute__((constructor)) static void read_environment(void) {
  const char* path = getenv("STASIS_SOCKETS");
  if (path != NULL) notes_path = strdup(path);
  read_outside_peers(getenv("STASIS_OUTSIDE_PEERS"));
}

// ---- Where the file of a bound socket is.

// The last that was opened whose path does not end with the name that its socket was bound to.
static int moved = -1;
enum { NAME_ROOM = sizeof(((struct sockaddr_un*)NULL)->sun_path) + 1 };
static char shown_path[NAME_ROOM + sizeof "/ (deleted)"];

static bool ends_with(const char* path, const char* name) {
  if (strncmp(name, "./", 2) == 0) name += 2;  // as CRIU does
  const size_t length = strlen(path), tail = strlen(name);
  return length > tail + 1 && strcmp(path + length - tail, name) == 0 && path[length - tail - 1] == '/';
}

static bool is_plain(const char* name, const char* path, const struct stat* file) {
  if (file->st_nlink != 1) return false;
  return name[0] == '/' ? strcmp(name, path) == 0 : ends_with(path, name);
}

static void note(uint64_t socket, const struct stat* file, const char* path) {
  FILE* notes = fopen(notes_path, "ae");
  if (notes == NULL) return;
  fprintf(notes, "%llu %llu %llu %llu ", (unsigned long long)socket, (unsigned long long)file->st_dev,
          (unsigned long long)file->st_ino, (unsigned long long)file->st_nlink);
  for (const char* byte = path; *byte != '\0'; ++byte) fprintf(notes, "%02x", (unsigned char)*byte);
  fputc('\n', notes);
  fclose(notes);
}

static ssize_t path_of(int file, char* path, size_t size) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  const ssize_t length = syscall(SYS_readlink, link, path, size - 1);
  if (length >= 0) path[length] = '\0';
  return length;
}

void socket_file_was_opened(int socket, int file) {
  char path[8192], name[NAME_ROOM];
  struct sockaddr_un address;
  socklen_t size = sizeof address;
  struct stat of_socket, of_file;
  moved = -1;
  if (notes_path == NULL || getsockname(socket, (struct sockaddr*)&address, &size) != 0 ||
      size <= offsetof(struct sockaddr_un, sun_path) || address.sun_path[0] == '\0')
    return;
  size -= (socklen_t)offsetof(struct sockaddr_un, sun_path);
  if (size > sizeof address.sun_path) size = sizeof address.sun_path;  // there was no room for its zero
  memcpy(name, address.sun_path, size);
  name[size] = '\0';
  if (fstat(socket, &of_socket) != 0 || fstat(file, &of_file) != 0 || path_of(file, path, sizeof path) < 0)
    return;
  if (is_plain(name, path, &of_file)) return;
  note(of_socket.st_ino, &of_file, path);
  if (name[0] == '/' || ends_with(path, name)) return;
  // CRIU would give up: what it makes of this is put right afterwards, by the note.
  moved = file;
  const bool removed = of_file.st_nlink == 0;
  snprintf(shown_path, sizeof shown_path, "/%s%s", strncmp(name, "./", 2) == 0 ? name + 2 : name,
           removed ? " (deleted)" : "");
}

EXPORTED ssize_t readlink(const char* path, char* buffer, size_t size) {
  int file;
  char rest;
  if (moved >= 0 && sscanf(path, "/proc/self/fd/%d%c", &file, &rest) == 1 && file == moved) {
    moved = -1;
    const size_t length = strlen(shown_path);
    const size_t given = length < size ? length : size;
    memcpy(buffer, shown_path, given);
    return (ssize_t)given;
  }
  return syscall(SYS_readlink, path, buffer, size);
}

// ---- Peers outside the container.

static bool is_outside(uint32_t socket, uint32_t peer) {
  for (size_t i = 0; i < outside_count; ++i) {
    if (outside[i].socket == socket && outside[i].peer == peer) return true;
  }
  return false;
}

static void hide_peer(struct nlmsghdr* message) {
  struct unix_diag_msg* socket = NLMSG_DATA(message);
  if (message->nlmsg_len < NLMSG_LENGTH(sizeof *socket) || socket->udiag_family != AF_UNIX) return;
  int left = (int)(message->nlmsg_len - NLMSG_LENGTH(sizeof *socket));
  struct rtattr* attribute = (struct rtattr*)(socket + 1);
  for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
    uint32_t peer;
    if (attribute->rta_type != UNIX_DIAG_PEER || RTA_PAYLOAD(attribute) != sizeof peer) continue;
    memcpy(&peer, RTA_DATA(attribute), sizeof peer);
    if (is_outside(socket->udiag_ino, peer)) memset(RTA_DATA(attribute), 0, sizeof peer);
  }
}

static bool is_socket_diagnosis(int descriptor) {
  int domain = -1, protocol = -1;
  socklen_t size = sizeof domain;
  if (getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_NETLINK)
    return false;
  size = sizeof protocol;
  return getsockopt(descriptor, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) == 0 &&
         protocol == NETLINK_SOCK_DIAG;
}

EXPORTED ssize_t recvmsg(int descriptor, struct msghdr* message, int flags) {
  const ssize_t got = syscall(SYS_recvmsg, descriptor, message, flags);
  if (got <= 0 || outside_count == 0 || message->msg_iovlen != 1 || (size_t)got > message->msg_iov->iov_len ||
      !is_socket_diagnosis(descriptor))
    return got;
  size_t left = (size_t)got;
  struct nlmsghdr* part = message->msg_iov->iov_base;
  for (; NLMSG_OK(part, left); part = NLMSG_NEXT(part, left)) {
    if (part->nlmsg_type == SOCK_DIAG_BY_FAMILY) hide_peer(part);
  }
  return got;
}

static bool is_datagram_to_a_file(int descriptor, const struct sockaddr* address, socklen_t size) {
  int type = -1;
  socklen_t type_size = sizeof type;
  if (size <= offsetof(struct sockaddr_un, sun_path) || address->sa_family != AF_UNIX ||
      ((const struct sockaddr_un*)address)->sun_path[0] == '\0')
    return false;
  return getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &type_size) == 0 && type == SOCK_DGRAM;
}

// Those of the container's own sockets are bound before CRIU connects any to them.
EXPORTED int connect(int descriptor, const struct sockaddr* address, socklen_t size) {
  const int result = (int)syscall(SYS_connect, descriptor, address, size);
  if (result == 0 || (errno != ENOENT && errno != ECONNREFUSED && errno != ENOTDIR)) return result;
  const int error = errno;
  const bool stays_without = is_datagram_to_a_file(descriptor, address, size);
  errno = error;
  return stays_without ? 0 : result;
}
