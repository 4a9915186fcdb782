#include "linux/unix_peers.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "linux/files.h"
#include "linux/proc.h"
#include "linux/taken_descriptor.h"

namespace stasis {
namespace {

constexpr size_t kAnswer = 64 << 10;
constexpr unsigned long kOpenFile = SIOCPROTOPRIVATE;  // SIOCUNIXFILE; <linux/un.h> and <sys/un.h> clash

struct Question {
  nlmsghdr header;
  unix_diag_req request;
};

Status Ask(int socket) {
  Question question = {};
  question.header.nlmsg_len = sizeof question;
  question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  question.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  question.request.sdiag_family = AF_UNIX;
  question.request.udiag_states = ~0U;
  question.request.udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_PEER;
  if (::send(socket, &question, sizeof question, 0) < 0) return ErrnoError(errno, "ask for unix sockets");
  return absl::OkStatus();
}

UnixSocketInfo Read(nlmsghdr* message) {
  UnixSocketInfo info;
  unix_diag_msg head;
  std::memcpy(&head, NLMSG_DATA(message), sizeof head);
  info.inode = head.udiag_ino;
  info.type = head.udiag_type;
  auto* attribute = reinterpret_cast<rtattr*>(static_cast<char*>(NLMSG_DATA(message)) + sizeof head);
  auto left = static_cast<int>(message->nlmsg_len - NLMSG_LENGTH(sizeof head));
  for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
    const auto* data = static_cast<const char*>(RTA_DATA(attribute));
    const size_t size = RTA_PAYLOAD(attribute);
    if (attribute->rta_type == UNIX_DIAG_PEER && size == sizeof info.peer)
      std::memcpy(&info.peer, data, size);
    if (attribute->rta_type != UNIX_DIAG_NAME) continue;
    info.name.assign(data, size);
    if (size > 0 && data[0] != '\0') info.name.resize(::strnlen(data, size));
  }
  return info;
}

// Appends what one answer lists. True: it was the last.
StatusOr<bool> ReadAnswer(char* bytes, size_t size, std::vector<UnixSocketInfo>* sockets) {
  auto* message = reinterpret_cast<nlmsghdr*>(bytes);
  for (; NLMSG_OK(message, size); message = NLMSG_NEXT(message, size)) {
    if (message->nlmsg_type == NLMSG_DONE) return true;
    if (message->nlmsg_type == NLMSG_ERROR) return Internal("the kernel lists no unix sockets");
    if (message->nlmsg_len >= NLMSG_LENGTH(sizeof(unix_diag_msg))) sockets->push_back(Read(message));
  }
  return false;
}

StatusOr<std::vector<UnixSocketInfo>> ListHere() {
  const UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!socket.valid()) return ErrnoError(errno, "socket of sock_diag");
  STASIS_RETURN_IF_ERROR(Ask(socket.get()));
  std::vector<UnixSocketInfo> sockets;
  alignas(nlmsghdr) char bytes[kAnswer];
  for (;;) {
    const ssize_t got = ::recv(socket.get(), bytes, sizeof bytes, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoError(errno, "list unix sockets");
    STASIS_ASSIGN_OR_RETURN(const bool last, ReadAnswer(bytes, static_cast<size_t>(got), &sockets));
    if (last || got == 0) return sockets;
  }
}

}  // namespace

StatusOr<std::vector<UnixSocketInfo>> ListUnixSockets(pid_t process) {
  STASIS_ASSIGN_OR_RETURN(const UniqueFd network, OpenFile(ProcPath(process, "ns/net"), O_RDONLY));
  StatusOr<std::vector<UnixSocketInfo>> sockets;
  std::thread lister([&] {
    if (::setns(network.get(), CLONE_NEWNET) != 0) {
      sockets = ErrnoError(errno, "enter a network namespace");
    } else {
      sockets = ListHere();
    }
  });
  lister.join();
  return sockets;
}

StatusOr<UniqueFd> OpenSocketFile(pid_t process, int descriptor) {
  STASIS_ASSIGN_OR_RETURN(const UniqueFd socket, TakeDescriptor(process, descriptor));
  UniqueFd file(::ioctl(socket.get(), kOpenFile));
  if (!file.valid()) return ErrnoError(errno, "file of a unix socket");
  return file;
}

}  // namespace stasis
