// Loaded into CRIU (LD_PRELOAD). A restore gives a TCP connection first, in repair mode, the data that was
// sent but not acknowledged; for what was not sent yet CRIU leaves that mode, and the kernel sends it, to a
// peer that may be in the same container and not be there yet: the answer is a reset, and the restore fails
// ("Can't restore not-sent send queue data: Broken pipe"). So the mode stays on: the kernel takes all of it
// for sent, and sends it again when nobody acknowledges it, after the restore.
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

enum { SEND_QUEUE = 2 };  // of TCP_REPAIR_QUEUE

// The one that was made last: CRIU restores one after the other. A dump makes none, but may get one under the
// same number: hence the inode.
static ino_t made;
static bool fills_send_queue;

static ino_t inode_of(int descriptor) {
  struct stat state;
  return fstat(descriptor, &state) == 0 ? state.st_ino : 0;
}

EXPORTED int socket(int domain, int type, int protocol) {
  const int descriptor = (int)syscall(SYS_socket, domain, type, protocol);
  made = descriptor < 0 ? 0 : inode_of(descriptor);
  fills_send_queue = false;
  return descriptor;
}

EXPORTED int setsockopt(int descriptor, int level, int name, const void* value, socklen_t size) {
  if (level == IPPROTO_TCP && (name == TCP_REPAIR || name == TCP_REPAIR_QUEUE) && size == sizeof(int) &&
      made != 0 && inode_of(descriptor) == made) {
    int number;
    memcpy(&number, value, sizeof number);
    if (name == TCP_REPAIR_QUEUE) fills_send_queue = number == SEND_QUEUE;
    if (name == TCP_REPAIR && number != 1 && fills_send_queue) return 0;
  }
  return (int)syscall(SYS_setsockopt, descriptor, level, name, value, size);
}
