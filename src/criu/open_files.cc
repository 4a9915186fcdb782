#include "criu/open_files.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/net.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "criu/image_file.h"
#include "criu_rpc/images.pb.h"

namespace stasis::criu {
namespace {

constexpr uint32_t kMemfdMagic = 0x48453499;
constexpr uint32_t kFdinfoMagic = 0x56213732;
constexpr size_t kMaxImage = 128 << 20;  // a million files with long names

// CRIU's numbers of kinds (images/fdinfo.proto, enum fd_types).
enum FileType : uint32_t {
  kRegular = 1,
  kPipe = 2,
  kFifo = 3,
  kInetSocket = 4,
  kUnixSocket = 5,
  kEventfd = 6,
  kEventpoll = 7,
  kInotify = 8,
  kSignalfd = 9,
  kPacketSocket = 10,
  kTerminal = 11,
  kFanotify = 12,
  kNetlinkSocket = 13,
  kNamespace = 14,
  kTun = 15,
  kExternal = 16,
  kTimerfd = 17,
  kMemoryFile = 18,
  kBpfMap = 19,
  kPidfd = 20,
};

std::string KindOf(uint32_t type) {
  switch (type) {
    case kRegular:
      return "file";
    case kPipe:
      return "pipe";
    case kFifo:
      return "fifo";
    case kInetSocket:
    case kUnixSocket:
    case kPacketSocket:
    case kNetlinkSocket:
      return "socket";
    case kEventfd:
      return "eventfd";
    case kEventpoll:
      return "eventpoll";
    case kInotify:
      return "inotify";
    case kSignalfd:
      return "signalfd";
    case kTerminal:
      return "terminal";
    case kFanotify:
      return "fanotify";
    case kNamespace:
      return "namespace";
    case kTun:
      return "tun";
    case kExternal:
      return "external";
    case kTimerfd:
      return "timerfd";
    case kMemoryFile:
      return "memfd";
    case kBpfMap:
      return "bpf-map";
    case kPidfd:
      return "pidfd";
    default:
      return "unknown";
  }
}

std::string KindOfMode(uint32_t mode) {
  if (S_ISDIR(mode)) return "directory";
  return S_ISCHR(mode) || S_ISBLK(mode) ? "device" : "file";
}

std::string AccessOf(uint32_t flags) {
  if ((flags & O_PATH) != 0) return "";
  switch (flags & O_ACCMODE) {
    case O_RDONLY:
      return "r";
    case O_WRONLY:
      return "w";
    default:
      return "rw";
  }
}

std::string SocketType(uint32_t type) {
  switch (type) {
    case SOCK_STREAM:
      return "stream";
    case SOCK_DGRAM:
      return "dgram";
    case SOCK_RAW:
      return "raw";
    case SOCK_SEQPACKET:
      return "seqpacket";
    default:
      return std::to_string(type);
  }
}

std::string Protocol(uint32_t protocol) {
  switch (protocol) {
    case IPPROTO_TCP:
      return "tcp";
    case IPPROTO_UDP:
      return "udp";
    case IPPROTO_UDPLITE:
      return "udplite";
    case IPPROTO_ICMP:
      return "icmp";
    case IPPROTO_ICMPV6:
      return "icmp6";
    default:
      return std::to_string(protocol);
  }
}

// The kernel's numbers, which sockets of all families have.
std::string SocketState(uint32_t state) {
  static constexpr std::string_view kStates[] = {
      "",          "established", "syn-sent",   "syn-received", "fin-wait-1", "fin-wait-2",
      "time-wait", "close",       "close-wait", "last-ack",     "listen",     "closing",
  };
  return state < std::size(kStates) ? std::string(kStates[state]) : std::to_string(state);
}

std::string InetAddress(uint32_t family, const google::protobuf::RepeatedField<uint32_t>& words,
                        uint32_t port) {
  char text[INET6_ADDRSTRLEN] = "";
  const bool is_6 = family == AF_INET6;
  if (words.size() < (is_6 ? 4 : 1)) return "";
  if (::inet_ntop(is_6 ? AF_INET6 : AF_INET, words.data(), text, sizeof text) == nullptr) return "";
  return (is_6 ? "[" + std::string(text) + "]" : std::string(text)) + ":" + std::to_string(port);
}

void Describe(const images::InetSkEntry& socket, OpenFile* file) {
  file->family = socket.family() == AF_INET6 ? "inet6" : "inet";
  file->type = SocketType(socket.type());
  file->protocol = Protocol(socket.proto());
  file->state = SocketState(socket.state());
  file->local = InetAddress(socket.family(), socket.src_addr(), socket.src_port());
  if (socket.dst_port() != 0)
    file->remote = InetAddress(socket.family(), socket.dst_addr(), socket.dst_port());
}

// As /proc/net/unix writes it.
std::string UnixName(const images::UnixSkEntry& socket) {
  std::string name = socket.name();
  if (name.empty()) return "";
  if (name.front() != '\0') {
    name.resize(std::min(name.find('\0'), name.size()));
    return socket.name_dir().empty() || name.front() == '/' ? name : socket.name_dir() + "/" + name;
  }
  std::replace(name.begin(), name.end(), '\0', '@');
  return name;
}

// What one entry tells of itself.
OpenFile Describe(const images::FileEntry& entry) {
  OpenFile file;
  file.kind = KindOf(entry.type());
  switch (entry.type()) {
    case kRegular:
      if (entry.reg().has_mode()) file.kind = KindOfMode(entry.reg().mode());
      file.name = entry.reg().name();
      file.access = AccessOf(entry.reg().flags());
      file.position = entry.reg().pos();
      break;
    case kPipe:
      file.name = "pipe:[" + std::to_string(entry.pipe().pipe_id()) + "]";
      file.access = AccessOf(entry.pipe().flags());
      break;
    case kTerminal:
      file.access = AccessOf(entry.tty().flags());
      break;
    case kMemoryFile:
      file.access = AccessOf(entry.memfd().flags());
      file.position = entry.memfd().pos();
      break;
    case kInetSocket:
      Describe(entry.isk(), &file);
      break;
    case kUnixSocket:
      file.family = "unix";
      file.type = SocketType(entry.usk().type());
      file.state = SocketState(entry.usk().state());
      file.local = UnixName(entry.usk());
      break;
    case kPacketSocket:
      file.family = "packet";
      file.type = SocketType(entry.psk().type());
      break;
    case kNetlinkSocket:
      file.family = "netlink";
      file.protocol = std::to_string(entry.nlsk().protocol());
      file.local = std::to_string(entry.nlsk().portid());
      break;
    default:
      break;
  }
  return file;
}

struct MemoryFile {
  std::string name;
  uint64_t memory = 0;
};

// By the id of its inode. No container has to have any.
StatusOr<std::unordered_map<uint64_t, MemoryFile>> ReadMemoryFiles(const ReadImage& read) {
  std::unordered_map<uint64_t, MemoryFile> files;
  StatusOr<std::string> bytes = read("memfd.img", kMaxImage);
  if (absl::IsNotFound(bytes.status())) return files;
  if (!bytes.ok()) return bytes.status();
  STASIS_ASSIGN_OR_RETURN(ImageReader reader,
                          ImageReader::Parse("memfd.img", *std::move(bytes), kCommonMagic, kMemfdMagic));
  while (!reader.AtEnd()) {
    images::MemfdInodeEntry entry;
    STASIS_RETURN_IF_ERROR(reader.Next(&entry));
    if (files.size() == kMaxOpenFiles)
      return MakeError(StatusCode::kResourceExhausted, "the checkpoint has too many memory files to show");
    files[entry.inode_id()] = {entry.name(), entry.shmid()};
  }
  return files;
}

}  // namespace

StatusOr<OpenFiles> OpenFiles::Read(const ReadImage& read) {
  OpenFiles out;
  STASIS_ASSIGN_OR_RETURN(const auto memory_files, ReadMemoryFiles(read));
  STASIS_ASSIGN_OR_RETURN(std::string bytes, read(kFilesImage, kMaxImage));
  STASIS_ASSIGN_OR_RETURN(ImageReader reader,
                          ImageReader::Parse(kFilesImage, std::move(bytes), kCommonMagic, kFilesMagic));
  std::unordered_map<uint32_t, uint32_t> named_by;        // a FIFO's and a terminal's path is a file's
  std::unordered_map<uint32_t, uint32_t> sockets, peers;  // of the unix family: ids by inode, peers by id
  while (!reader.AtEnd()) {
    images::FileEntry entry;
    STASIS_RETURN_IF_ERROR(reader.Next(&entry));
    if (out.files_.size() == kMaxOpenFiles)
      return MakeError(StatusCode::kResourceExhausted, "the checkpoint has too many open files to show");
    OpenFile& file = out.files_[entry.id()] = Describe(entry);
    if (entry.fifo().has_regf_id()) named_by[entry.id()] = entry.fifo().regf_id();
    if (entry.tty().has_regf_id()) named_by[entry.id()] = entry.tty().regf_id();
    if (entry.type() == kUnixSocket) {
      sockets[entry.usk().ino()] = entry.id();
      if (entry.usk().peer() != 0) peers[entry.id()] = entry.usk().peer();
    }
    if (entry.type() != kMemoryFile) continue;
    const auto memory = memory_files.find(entry.memfd().inode_id());
    if (memory == memory_files.end()) continue;
    file.name = memory->second.name;
    out.memory_[entry.id()] = memory->second.memory;
  }
  for (const auto& [id, file] : named_by) {
    if (const OpenFile* named = out.Find(file)) out.files_[id].name = named->name;
  }
  for (const auto& [id, inode] : peers) {
    std::string remote = "socket:[" + std::to_string(inode) + "]";
    if (const auto peer = sockets.find(inode); peer != sockets.end()) {
      if (const std::string& name = out.files_[peer->second].local; !name.empty()) remote = name;
    }
    out.files_[id].remote = std::move(remote);
  }
  return out;
}

const OpenFile* OpenFiles::Find(uint32_t id) const {
  const auto found = files_.find(id);
  return found == files_.end() ? nullptr : &found->second;
}

std::optional<uint64_t> OpenFiles::MemoryOf(uint32_t id) const {
  const auto found = memory_.find(id);
  if (found == memory_.end()) return std::nullopt;
  return found->second;
}

StatusOr<std::vector<Descriptor>> ReadDescriptors(const ReadImage& read, uint32_t table) {
  const std::string name = ImageName("fdinfo", table);
  STASIS_ASSIGN_OR_RETURN(std::string bytes, read(name, kMaxImage));
  STASIS_ASSIGN_OR_RETURN(ImageReader reader,
                          ImageReader::Parse(name, std::move(bytes), kCommonMagic, kFdinfoMagic));
  std::vector<Descriptor> descriptors;
  while (!reader.AtEnd()) {
    images::FdinfoEntry entry;
    STASIS_RETURN_IF_ERROR(reader.Next(&entry));
    if (descriptors.size() == kMaxOpenFiles)
      return MakeError(StatusCode::kResourceExhausted, name + " has too many descriptors to show");
    descriptors.push_back({entry.fd(), entry.id()});
  }
  std::sort(descriptors.begin(), descriptors.end(),
            [](const Descriptor& a, const Descriptor& b) { return a.fd < b.fd; });
  return descriptors;
}

}  // namespace stasis::criu
