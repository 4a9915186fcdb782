#include "criu/outside_peers.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <utility>

#include "base/log.h"
#include "criu/watches.h"
#include "linux/files.h"
#include "linux/namespaces.h"
#include "linux/proc.h"
#include "linux/process_handle.h"
#include "linux/unix_peers.h"

namespace stasis::criu {
namespace {

struct Holder {
  pid_t process = 0;
  int descriptor = -1;
};

template <typename Number>
std::optional<Number> ParseNumber(std::string_view text) {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<uint32_t> SocketOf(std::string_view link) {
  if (!link.starts_with("socket:[") || !link.ends_with(']')) return std::nullopt;
  return ParseNumber<uint32_t>(link.substr(8, link.size() - 9));
}

// Calls `see(inode, descriptor)` for each socket of a process.
template <typename See>
void ForEachSocket(pid_t process, const See& see) {
  const std::string base = ProcPath(process, "fd");
  const auto descriptors = ListDirectory(base);
  if (!descriptors.ok()) return;
  for (const std::string& descriptor : *descriptors) {
    const auto link = ReadProcLink(base + "/" + descriptor);
    if (!link.ok()) continue;
    const auto inode = SocketOf(*link);
    const auto number = ParseNumber<int>(descriptor);
    if (inode && number) see(*inode, *number);
  }
}

// A connection of which the container has one end.
struct Half {
  UnixSocketInfo socket;
  const Process* owner = nullptr;
};

std::vector<Half> FindHalves(const std::vector<Process>& processes) {
  std::map<uint32_t, const Process*> owners;
  for (const Process& process : processes)
    ForEachSocket(process.pid, [&](uint32_t inode, int) { owners.emplace(inode, &process); });
  std::vector<Half> halves;
  if (owners.empty()) return halves;
  const auto sockets = ListUnixSockets(processes.front().pid);
  if (!sockets.ok()) return halves;
  for (const UnixSocketInfo& socket : *sockets) {
    const auto owner = owners.find(socket.inode);
    if (owner == owners.end() || socket.peer == 0 || owners.contains(socket.peer)) continue;
    halves.push_back({socket, owner->second});
  }
  return halves;
}

// Of the peers. Only who holds one outside the container is of interest here: a socket that nobody holds is
// on its way through another.
std::map<uint32_t, Holder> FindHolders(const std::vector<Half>& halves) {
  std::map<uint32_t, Holder> holders;
  for (const Half& half : halves) holders[half.socket.peer] = {};
  const auto entries = ListDirectory("/proc");
  if (!entries.ok()) return holders;
  for (const std::string& entry : *entries) {
    const auto pid = ParseNumber<pid_t>(entry);
    if (!pid) continue;
    ForEachSocket(*pid, [&](uint32_t inode, int descriptor) {
      const auto holder = holders.find(inode);
      if (holder != holders.end()) holder->second = {*pid, descriptor};
    });
  }
  return holders;
}

// Of the holder's socket, in the container that `processes` are.
std::optional<std::string> PathInside(const Holder& holder, const std::vector<Process>& processes,
                                      Deadline deadline, const std::stop_token& cancel) {
  const auto file = OpenSocketFile(holder.process, holder.descriptor);
  struct stat state = {};
  if (!file.ok() || ::fstat(file->get(), &state) != 0) return std::nullopt;
  const Watch wanted = {static_cast<uint32_t>(major(state.st_dev) << 20 | minor(state.st_dev)), state.st_ino};
  const std::vector<WatchedPath> found = FindWatchedPaths(processes, {wanted}, deadline, cancel);
  if (found.empty() || found.front().path.size() >= kMaxSocketName) return std::nullopt;
  return found.front().path;
}

// One that was accepted has the name of the socket that accepted it, and is in the network namespace of the
// one that connected.
std::string NameOf(const UnixSocketInfo& socket, const Holder& holder, const Process& init) {
  std::string name = socket.name;
  for (const pid_t process : {init.pid, holder.process}) {
    const auto others = ListUnixSockets(process);
    if (!name.empty() || !others.ok()) continue;
    for (const UnixSocketInfo& other : *others) {
      if (other.inode == socket.peer) name = other.name;
    }
  }
  if (name.empty()) return "";
  std::replace(name.begin(), name.end(), '\0', '@');
  return " (" + Printable(name, 256) + ")";
}

bool IsInside(const Holder& holder, const Process& init) {
  const auto ours = NamespaceInode(init.pid, "pid");
  const auto theirs = NamespaceInode(holder.process, "pid");
  const auto host = NamespaceInode(::getpid(), "pid");
  return ours.ok() && theirs.ok() && *ours == *theirs && (!host.ok() || *host != *ours);
}

Status Verdict(const Half& half, const Holder& holder, const Process& init) {
  std::string text =
      Label(*half.owner) + " is connected by a unix socket" + NameOf(half.socket, holder, init) + " to ";
  if (IsInside(holder, init)) {
    const auto inside = InnermostPid(holder.process);
    return Unavailable(text + "process " + std::to_string(inside.ok() ? *inside : holder.process) + " (" +
                       Printable(ProcessName(holder.process).value_or("?"), 64) +
                       ") that docker exec started, which is no part of a checkpoint; end that first, or "
                       "checkpoint again when it has ended");
  }
  return Internal(
      text + "process " + std::to_string(holder.process) + " (" +
      Printable(ProcessName(holder.process).value_or("?"), 64) +
      ") outside the container, and the connection would not come back; have one of the two close "
      "it first");
}

}  // namespace

StatusOr<std::vector<OutsidePeer>> FindOutsidePeers(const std::vector<Process>& processes,
                                                    const std::string& file, Deadline deadline,
                                                    std::stop_token cancel) {
  std::vector<OutsidePeer> peers;
  const std::vector<Half> halves = FindHalves(processes);
  if (halves.empty()) return peers;
  const std::map<uint32_t, Holder> holders = FindHolders(halves);
  std::map<uint32_t, std::optional<std::string>> paths;  // of datagram peers
  for (const Half& half : halves) {
    const Holder& holder = holders.at(half.socket.peer);
    if (holder.process == 0) continue;
    if (half.socket.type == SOCK_DGRAM) {
      auto [path, is_new] = paths.try_emplace(half.socket.peer);
      if (is_new) path->second = PathInside(holder, processes, deadline, cancel);
      if (cancel.stop_requested()) return Cancelled("the checkpoint was cancelled");
      if (path->second) {
        peers.push_back({half.socket.inode, half.socket.peer, *path->second});
        continue;
      }
    }
    return Verdict(half, holder, processes.front());
  }
  if (peers.empty()) return peers;
  std::string text;
  for (const OutsidePeer& peer : peers)
    text += std::to_string(peer.socket) + " " + std::to_string(peer.peer) + "\n";
  STASIS_RETURN_IF_ERROR(WriteFileAtomically(file, text));
  return peers;
}

}  // namespace stasis::criu
