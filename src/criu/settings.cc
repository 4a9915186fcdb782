#include "criu/settings.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <set>
#include <sstream>

#include "base/hex.h"
#include "criu/socket_options.h"
#include "linux/files.h"
#include "linux/proc.h"
#include "linux/taken_descriptor.h"

namespace stasis::criu {
namespace {

std::string Words(const auto&... words) {
  std::ostringstream line;
  size_t count = 0;
  ((line << (count++ == 0 ? "" : " ") << words), ...);
  line << "\n";
  return line.str();
}

constexpr char kAddress[] = "address";

// ---- multicast groups: the kernel tells of an interface which groups somebody has joined, and of a socket
// and a group whether it has (MCAST_MSFILTER, RFC 3678).

struct Group {
  uint32_t interface = 0;
  sockaddr_storage address = {};
};

sockaddr_storage ToAddress(int family, const std::string& bytes) {
  sockaddr_storage address = {};
  address.ss_family = static_cast<sa_family_t>(family);
  if (family == AF_INET) {
    std::memcpy(&reinterpret_cast<sockaddr_in*>(&address)->sin_addr, bytes.data(), sizeof(in_addr));
  } else {
    std::memcpy(&reinterpret_cast<sockaddr_in6*>(&address)->sin6_addr, bytes.data(), sizeof(in6_addr));
  }
  return address;
}

std::string ToText(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = {};
  const void* bytes =
      address.ss_family == AF_INET
          ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(&address)->sin_addr)
          : &reinterpret_cast<const sockaddr_in6*>(&address)->sin6_addr;
  ::inet_ntop(address.ss_family, bytes, text, sizeof text);
  return text;
}

bool FromText(const std::string& text, sockaddr_storage* address) {
  char bytes[sizeof(in6_addr)];
  const int family = text.find(':') == text.npos ? AF_INET : AF_INET6;
  if (::inet_pton(family, text.c_str(), bytes) != 1) return false;
  *address = ToAddress(family, std::string(bytes, sizeof bytes));
  return true;
}

// "1 lo : 2 V3" and below it "  FA0000EF 1 ...": an address as a number of this machine.
void ReadGroups4(pid_t process, std::vector<Group>* groups) {
  std::istringstream lines(ReadFile(ProcPath(process, "net/igmp")).value_or(""));
  uint32_t interface = 0;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string first;
    words >> first;
    if (!line.empty() && line[0] != '\t' && line[0] != ' ') {
      interface = 0;
      std::from_chars(first.data(), first.data() + first.size(), interface);
      continue;
    }
    uint32_t address = 0;
    std::from_chars(first.data(), first.data() + first.size(), address, 16);
    if (address == htonl(INADDR_ALLHOSTS_GROUP) || address == 0) continue;  // joined by the kernel
    groups->push_back({interface, ToAddress(AF_INET, std::string(reinterpret_cast<const char*>(&address),
                                                                 sizeof address))});
  }
}

// "1    lo              ff0200000000000000000000000000fb     1 00000004 0".
void ReadGroups6(pid_t process, std::vector<Group>* groups) {
  std::istringstream lines(ReadFile(ProcPath(process, "net/igmp6")).value_or(""));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    Group group;
    std::string name, address;
    words >> group.interface >> name >> address;
    const auto bytes = FromHex(address);
    if (!words || !bytes || bytes->size() != sizeof(in6_addr)) continue;
    group.address = ToAddress(AF_INET6, *bytes);
    groups->push_back(group);
  }
}

std::vector<Group> ReadGroups(pid_t process) {
  std::vector<Group> groups;
  ReadGroups4(process, &groups);
  ReadGroups6(process, &groups);
  return groups;
}

bool HasJoined(int socket, const Group& group) {
  group_filter filter = {};
  filter.gf_interface = group.interface;
  filter.gf_group = group.address;
  socklen_t size = sizeof filter;
  const int level = group.address.ss_family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
  // Of one that hears chosen sources only nothing is said: it would hear all.
  return ::getsockopt(socket, level, MCAST_MSFILTER, &filter, &size) == 0 &&
         filter.gf_fmode == MCAST_EXCLUDE && filter.gf_numsrc == 0;
}

// ---- the address of a raw socket, or of one for ping(8), whose port is the number in its packets (raw(7),
// icmp(7)). CRIU binds them to none.

std::optional<std::string> ReadAddress(int socket) {
  sockaddr_storage address = {};
  socklen_t size = sizeof address;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0 || size > sizeof address)
    return std::nullopt;
  const std::string bytes(reinterpret_cast<const char*>(&address), size);
  const size_t family = sizeof address.ss_family;
  if (bytes.find_first_not_of('\0', family) == bytes.npos) return std::nullopt;  // not bound
  return ToHex(bytes);
}

void Bind(int socket, const std::string& address) {
  const auto bytes = FromHex(address);
  if (!bytes || bytes->size() > sizeof(sockaddr_storage)) return;
  sockaddr_storage copy = {};
  std::memcpy(&copy, bytes->data(), bytes->size());
  static_cast<void>(
      ::bind(socket, reinterpret_cast<const sockaddr*>(&copy), static_cast<socklen_t>(bytes->size())));
}

void Join(int socket, uint32_t interface, const std::string& address) {
  group_req request = {};
  request.gr_interface = interface;
  if (!FromText(address, &request.gr_group)) return;
  const int level = request.gr_group.ss_family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
  static_cast<void>(::setsockopt(socket, level, MCAST_JOIN_GROUP, &request, sizeof request));
}

// ---- descriptors

class DescriptorReader {
 public:
  std::string Read(const Process& process) {
    const std::string directory = ProcPath(process.pid, "fd");
    const auto descriptors = ListDirectory(directory);
    std::string lines;
    if (!descriptors.ok()) return lines;
    for (const std::string& name : *descriptors) {
      const auto link = ReadProcLink(directory + "/" + name);
      if (!link.ok()) continue;
      const bool is_socket = link->starts_with("socket:");
      // A socket that several descriptors share is read once, and set by that one.
      if (!(is_socket ? seen_.insert(*link).second : link->starts_with("/dev/"))) continue;
      const auto copy = TakeDescriptor(process.pid, std::atoi(name.c_str()));
      if (!copy.ok()) continue;
      lines += is_socket ? ReadSocket(process, name, copy->get()) : ReadTerminal(process, name, copy->get());
    }
    return lines;
  }

 private:
  std::string ReadSocket(const Process& process, const std::string& descriptor, int socket) {
    std::string lines;
    for (const SocketOption& option : options_.Read(socket))
      lines += Words("descriptor", process.inside, descriptor, option.name, option.value);
    int type = 0, domain = 0, protocol = 0;
    socklen_t size = sizeof type;
    ::getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &size);
    ::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &size);
    ::getsockopt(socket, SOL_SOCKET, SO_PROTOCOL, &protocol, &size);
    if ((type != SOCK_DGRAM && type != SOCK_RAW) || (domain != AF_INET && domain != AF_INET6)) return lines;
    if (type == SOCK_RAW || protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) {
      if (const auto address = ReadAddress(socket))
        lines += Words("descriptor", process.inside, descriptor, kAddress, *address);
    }
    for (const Group& group : GroupsOf(process.pid)) {
      if (HasJoined(socket, group))
        lines += Words("group", process.inside, descriptor, group.interface, ToText(group.address));
    }
    return lines;
  }

  static std::string ReadTerminal(const Process& process, const std::string& descriptor, int terminal) {
    int exclusive = 0;
    if (::ioctl(terminal, TIOCGEXCL, &exclusive) != 0 || exclusive == 0) return "";
    return Words("descriptor", process.inside, descriptor, "exclusive", 1);
  }

  // Of the network namespace, which is the same for nearly all.
  const std::vector<Group>& GroupsOf(pid_t process) {
    const auto [found, is_new] = groups_.try_emplace(ReadProcLink(ProcPath(process, "ns/net")).value_or(""));
    if (is_new) found->second = ReadGroups(process);
    return found->second;
  }

  SocketOptions options_;
  std::set<std::string> seen_;
  std::map<std::string, std::vector<Group>> groups_;
};

// ---- processes and threads

std::string ReadCoredumpFilter(pid_t process) {
  std::string text = ReadFile(ProcPath(process, "coredump_filter")).value_or("");
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

// "/autogroup-7 nice 5": the number, or 0.
int ReadAutogroupNice(pid_t process) {
  const std::string text = ReadFile(ProcPath(process, "autogroup")).value_or("");
  const size_t at = text.rfind(' ');
  return at == text.npos ? 0 : std::atoi(text.c_str() + at + 1);
}

// sched_setattr(2); libraries have it under one name or another, or not.
struct Scheduling {
  uint32_t size = sizeof(Scheduling);
  uint32_t policy = 0;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime = 0;  // of those that have no deadline: the slice, since Linux 6.12
  uint64_t deadline = 0;
  uint64_t period = 0;
};

bool HasSlice(const Scheduling& attributes) {
  constexpr uint32_t kOther = 0, kBatch = 3, kIdle = 5;  // sched(7)
  const uint32_t policy = attributes.policy;
  return policy == kOther || policy == kBatch || policy == kIdle;
}

// In nanoseconds. 0: it has none, or the kernel does not tell.
uint64_t ReadSlice(pid_t thread) {
  Scheduling attributes;
  if (::syscall(SYS_sched_getattr, thread, &attributes, sizeof attributes, 0) != 0) return 0;
  return HasSlice(attributes) ? attributes.runtime : 0;
}

void SetSlice(pid_t thread, uint64_t slice) {
  Scheduling attributes;
  if (::syscall(SYS_sched_getattr, thread, &attributes, sizeof attributes, 0) != 0) return;
  if (!HasSlice(attributes)) return;
  attributes.runtime = slice;
  static_cast<void>(::syscall(SYS_sched_setattr, thread, &attributes, 0));
}

std::string ReadProcess(const Process& process, const std::string& usual_filter, uint64_t usual_slice) {
  std::string lines;
  const std::string filter = ReadCoredumpFilter(process.pid);
  if (!filter.empty() && filter != usual_filter)
    lines += Words("process", process.inside, "coredump_filter", filter);
  if (const int nice = ReadAutogroupNice(process.pid); nice != 0)
    lines += Words("process", process.inside, "autogroup_nice", nice);
  const auto threads = ListThreads(process.pid);
  if (!threads.ok()) return lines;
  for (const pid_t thread : *threads) {
    const uint64_t slice = ReadSlice(thread);
    if (slice == 0 || slice == usual_slice) continue;
    if (const auto inside = InnermostPid(thread); inside.ok())
      lines += Words("thread", *inside, "slice", slice);
  }
  return lines;
}

void SetOfProcess(pid_t process, const std::string& name, const std::string& value) {
  if (name == "coredump_filter")
    WriteControlFile(ProcPath(process, "coredump_filter"), "0x" + value).IgnoreError();
  if (name == "autogroup_nice") WriteControlFile(ProcPath(process, "autogroup"), value).IgnoreError();
}

void SetOfDescriptor(int descriptor, const std::string& name, const std::string& value) {
  if (name == "exclusive") {
    static_cast<void>(::ioctl(descriptor, TIOCEXCL));
  } else if (name == kAddress) {
    Bind(descriptor, value);
  } else {
    SocketOptions::Set(descriptor, name, value);
  }
}

}  // namespace

std::string ReadSettings(const std::vector<Process>& processes) {
  const std::string usual_filter = ReadCoredumpFilter(::getpid());
  const uint64_t usual_slice = ReadSlice(0);
  DescriptorReader descriptors;
  std::string lines;
  for (const Process& process : processes) {
    if (process.state == 'Z') continue;
    lines += ReadProcess(process, usual_filter, usual_slice);
    lines += descriptors.Read(process);
  }
  return lines;
}

void RestoreSettings(std::string_view settings, const std::map<pid_t, pid_t>& threads) {
  std::istringstream lines{std::string(settings)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string what, name, value;
    pid_t inside = 0;
    int descriptor = -1;
    words >> what >> inside;
    if (what == "descriptor" || what == "group") words >> descriptor;
    words >> name >> value;
    const auto thread = threads.find(inside);
    if (!words || thread == threads.end()) continue;
    if (what == "process") SetOfProcess(thread->second, name, value);
    if (what == "thread" && name == "slice")
      SetSlice(thread->second, std::strtoull(value.c_str(), nullptr, 10));
    if (descriptor < 0) continue;
    const auto copy = TakeDescriptor(thread->second, descriptor);
    if (!copy.ok()) continue;
    if (what == "descriptor") SetOfDescriptor(copy->get(), name, value);
    if (what == "group")
      Join(copy->get(), static_cast<uint32_t>(std::strtoul(name.c_str(), nullptr, 10)), value);
  }
}

}  // namespace stasis::criu
