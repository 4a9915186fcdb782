// Loaded into CRIU (LD_PRELOAD). For each network namespace, one that comes from outside as well, CRIU does
// two things while the container stands still, of which mostly nothing comes: it mounts a sysfs of it, at
// whose end the kernel waits for all processors (up to 20 ms); and it asks for the connections that the
// namespace tracks, for which the kernel goes through a table of the whole host (10 ms). So the sysfs is
// mounted only when something is read of it, and where nothing is tracked there is less to ask for.
#define _GNU_SOURCE
#include "hooks.h"

#include <fcntl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

// ---- The sysfs, by fsopen, fsconfig and fsmount.

enum { CREATE = 6 };  // FSCONFIG_CMD_CREATE; <linux/mount.h> and <sys/mount.h> do not go together

static int context = -1;         // what fsopen made; CRIU looks for messages of the kernel in it
static int mounted = -1;         // handed out for what fsmount makes
static struct stat placeholder;  // what that is: nothing can be opened below it

bool network_answers(long number, const long arguments[6], long* result) {
  *result = 0;
  if (number == SYS_fsopen && arguments[0] != 0 && strcmp((const char*)arguments[0], "sysfs") == 0) {
    *result = next_syscall()(number, arguments[0], arguments[1]);
    context = (int)*result;
    return true;
  }
  if (context < 0 || arguments[0] != context) return false;
  if (number == SYS_fsconfig && arguments[1] == CREATE) return true;
  if (number != SYS_fsmount) return false;
  *result = mounted = open("/dev/null", O_PATH | O_CLOEXEC);
  context = -1;
  fstat(mounted, &placeholder);
  return true;
}

// Where it fails the placeholder stays, and CRIU cannot open what it wanted.
void network_is_read(int directory) {
  if (mounted < 0 || directory != mounted) return;
  mounted = -1;
  struct stat state;
  if (fstat(directory, &state) != 0 || state.st_dev != placeholder.st_dev ||
      state.st_ino != placeholder.st_ino)
    return;  // another file has the number by now
  const syscall_function call = next_syscall();
  const int opened = (int)call(SYS_fsopen, "sysfs", 0);
  if (opened < 0) return;
  if (call(SYS_fsconfig, opened, CREATE, NULL, NULL, 0) == 0) {
    const int made = (int)call(SYS_fsmount, opened, 0, 0);
    if (made >= 0) dup3(made, directory, O_CLOEXEC);
    if (made >= 0) close(made);
  }
  close(opened);
}

// ---- The tracked connections.

struct request {
  struct nlmsghdr header;
  struct nfgenmsg family;
};

// Of the namespace that this process is in. False also where that cannot be told.
static bool nothing_is_tracked(void) {
  char text[4] = "";
  const int file = open("/proc/sys/net/netfilter/nf_conntrack_count", O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  const ssize_t size = read(file, text, sizeof text);
  close(file);
  return size == 2 && memcmp(text, "0\n", 2) == 0;
}

static bool is_of_netfilter(int descriptor) {
  int domain = -1;
  int protocol = -1;
  socklen_t size = sizeof domain;
  if (getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_NETLINK)
    return false;
  size = sizeof protocol;
  return getsockopt(descriptor, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) == 0 &&
         protocol == NETLINK_NETFILTER;
}

// An expected connection belongs to a tracked one, so that the list of those is as empty; it is short to go
// through, and the answer has the same form.
EXPORTED ssize_t sendmsg(int descriptor, const struct msghdr* message, int flags) {
  struct request request;
  if (message->msg_iovlen != 1 || message->msg_iov->iov_len != sizeof request)
    return syscall(SYS_sendmsg, descriptor, message, flags);
  memcpy(&request, message->msg_iov->iov_base, sizeof request);
  if (request.header.nlmsg_type != (NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET) ||
      (request.header.nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP || !is_of_netfilter(descriptor) ||
      !nothing_is_tracked())
    return syscall(SYS_sendmsg, descriptor, message, flags);
  request.header.nlmsg_type = NFNL_SUBSYS_CTNETLINK_EXP << 8 | IPCTNL_MSG_EXP_GET;
  struct iovec part = {&request, sizeof request};
  struct msghdr changed = *message;
  changed.msg_iov = &part;
  return syscall(SYS_sendmsg, descriptor, &changed, flags);
}
