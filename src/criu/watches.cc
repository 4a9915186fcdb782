#include "criu/watches.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "criu/image_file.h"
#include "criu_rpc/images.pb.h"
#include "linux/files.h"
#include "linux/inside_root.h"
#include "linux/proc.h"

namespace stasis::criu {
namespace {

constexpr size_t kMaxFdinfo = 8 << 20;
constexpr size_t kMaxEntries = 500'000;
constexpr uint32_t kIrmapCacheMagic = 0x57004059;

Watch WatchOf(const struct stat& info) {
  return {static_cast<uint32_t>(major(info.st_dev) << 20 | minor(info.st_dev)), info.st_ino};
}

// The hexadecimal number behind "NAME:" in a line.
std::optional<uint64_t> HexField(std::string_view line, std::string_view name) {
  size_t at = line.find(name);
  if (at == line.npos) return std::nullopt;
  line.remove_prefix(at + name.size());
  uint64_t value = 0;
  auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), value, 16);
  if (error != std::errc()) return std::nullopt;
  return value;
}

// The watches that are looked for, and the paths found so far.
class Finder {
 public:
  explicit Finder(const std::vector<Watch>& watches) : missing_(watches.size()) {
    for (const Watch& watch : watches) wanted_.emplace(watch, "");
  }
  bool complete() const { return missing_ == 0; }

  // Notes `path` where the file that it leads to is one that is looked for.
  void See(const struct stat& info, const std::string& path) {
    auto found = wanted_.find(WatchOf(info));
    if (found == wanted_.end() || !found->second.empty() || path.empty() || path[0] != '/') return;
    found->second = path;
    --missing_;
  }

  std::vector<WatchedPath> Take() {
    std::vector<WatchedPath> paths;
    for (auto& [watch, path] : wanted_) {
      if (!path.empty()) paths.push_back({watch, path});
    }
    return paths;
  }

 private:
  std::map<Watch, std::string> wanted_;  // path empty until found
  size_t missing_;
};

// What a magic link of /proc leads to, under the path that the container knows it by.
void SeeLink(const std::string& link, Finder& finder) {
  struct stat info;
  if (::stat(link.c_str(), &info) != 0) return;
  auto path = ReadProcLink(link);
  if (path.ok() && !path->ends_with(" (deleted)")) finder.See(info, *path);
}

void LookAtOpenFiles(const std::vector<Process>& processes, Finder& finder) {
  for (const Process& process : processes) {
    const std::string base = ProcPath(process.pid, "");
    SeeLink(base + "cwd", finder);
    SeeLink(base + "root", finder);
    auto descriptors = ListDirectory(base + "fd");
    if (!descriptors.ok()) continue;
    for (const std::string& descriptor : *descriptors) {
      if (finder.complete()) return;
      SeeLink(base + "fd/" + descriptor, finder);
    }
  }
}

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

// Kernel file systems hold nothing that CRIU would look for by path, and no end of entries.
bool IsSkipped(const std::string& path) { return path == "/proc" || path == "/sys"; }

// One directory of the walk: looks at its entries, queues its directories. Returns how many entries it had.
size_t LookInside(int root, const std::string& path, Finder& finder, std::deque<std::string>& queue) {
  auto opened = OpenInRoot(root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK);
  if (!opened.ok()) return 1;
  std::unique_ptr<DIR, CloseDirectory> directory(::fdopendir(opened->get()));
  if (!directory) return 1;
  static_cast<void>(opened->release());
  size_t count = 0;
  while (const dirent* entry = ::readdir(directory.get())) {
    std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    ++count;
    struct stat info;
    if (::fstatat(::dirfd(directory.get()), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
    std::string child = (path == "/" ? "" : path) + "/" + std::string(name);
    finder.See(info, child);
    if (S_ISDIR(info.st_mode) && !IsSkipped(child)) queue.push_back(std::move(child));
  }
  return count;
}

void Walk(pid_t init, Finder& finder, Deadline deadline, const std::stop_token& cancel) {
  auto root = OpenFile(ProcPath(init, "root"), O_PATH | O_DIRECTORY);
  if (!root.ok()) return;
  std::deque<std::string> queue = {"/"};
  size_t seen = 0;
  while (!queue.empty() && !finder.complete() && seen < kMaxEntries && !cancel.stop_requested() &&
         std::chrono::steady_clock::now() < deadline) {
    std::string path = std::move(queue.front());
    queue.pop_front();
    seen += LookInside(root->get(), path, finder, queue);
  }
}

}  // namespace

std::vector<Watch> ParseWatches(std::string_view fdinfo) {
  std::vector<Watch> watches;
  while (!fdinfo.empty()) {
    size_t end = fdinfo.find('\n');
    std::string_view line = fdinfo.substr(0, end);
    fdinfo.remove_prefix(end == fdinfo.npos ? fdinfo.size() : end + 1);
    if (!line.starts_with("inotify ") && !line.starts_with("fanotify ")) continue;
    auto inode = HexField(line, " ino:");
    auto device = HexField(line, " sdev:");
    if (inode && device && *device <= UINT32_MAX) watches.push_back({static_cast<uint32_t>(*device), *inode});
  }
  return watches;
}

std::vector<Watch> ReadWatches(const std::vector<Process>& processes) {
  std::vector<Watch> watches;
  for (const Process& process : processes) {
    const std::string base = ProcPath(process.pid, "");
    auto descriptors = ListDirectory(base + "fd");
    if (!descriptors.ok()) continue;
    for (const std::string& descriptor : *descriptors) {
      const auto link = ReadProcLink(base + "fd/" + descriptor);
      if (!link.ok() || (*link != "anon_inode:inotify" && *link != "anon_inode:[fanotify]")) continue;
      auto text = ReadFile(base + "fdinfo/" + descriptor, kMaxFdinfo);
      if (!text.ok()) continue;
      for (const Watch& watch : ParseWatches(*text)) watches.push_back(watch);
    }
  }
  std::sort(watches.begin(), watches.end());
  watches.erase(std::unique(watches.begin(), watches.end()), watches.end());
  return watches;
}

std::vector<WatchedPath> FindWatchedPaths(const std::vector<Process>& processes,
                                          const std::vector<Watch>& watches, Deadline deadline,
                                          std::stop_token cancel) {
  Finder finder(watches);
  if (processes.empty() || watches.empty()) return {};
  LookAtOpenFiles(processes, finder);
  if (!finder.complete()) Walk(processes.front().pid, finder, deadline, cancel);
  return finder.Take();
}

std::string IrmapCache(const std::vector<WatchedPath>& paths) {
  ImageWriter image(kServiceMagic, kIrmapCacheMagic);
  for (const WatchedPath& path : paths) {
    images::IrmapCacheEntry entry;
    entry.set_dev(path.watch.device);
    entry.set_inode(path.watch.inode);
    entry.set_path(path.path);
    image.Add(entry);
  }
  return image.bytes();
}

}  // namespace stasis::criu
