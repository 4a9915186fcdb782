#include "image/root_store.h"

#include <fcntl.h>
#include <linux/stat.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <optional>
#include <string_view>
#include <system_error>
#include <thread>

#include "absl/time/clock.h"
#include "linux/files.h"
#include "linux/mounts.h"
#include "linux/random_hex.h"

namespace stasis::image {
namespace {

constexpr char kUpperReplaced[] = "/upper-replaced";
// Of an engine that kept one only, under this name.
constexpr char kUpperBefore[] = "/upper-before-restore";
constexpr std::string_view kUpperKept = "upper-kept-";
// Their names, and those that others make of their times, have milliseconds.
constexpr absl::Duration kBetweenKept = absl::Milliseconds(2);
constexpr size_t kMaxLayersFile = 64 << 10;
constexpr size_t kMaxMountOptions = 4095;  // mount(2) takes one page

// Whether a file system is mounted right on `path` (statx(2), Linux 5.8).
StatusOr<bool> IsMountPoint(const std::string& path) {
  struct statx info;
  if (::statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &info) != 0) {
    return ErrnoError(errno, "statx " + path);
  }
  return (info.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

// Said where the kernel knows them, for its configuration may turn them on: an index ties upper and lower
// directories together by file handles, metacopy leaves data of changed files in lower layers.
std::string FixedOptions() {
  std::string out;
  for (const char* option : {"index", "metacopy"}) {
    if (Exists(std::string("/sys/module/overlay/parameters/") + option)) out += std::string(option) + "=off,";
  }
  return out;
}

// mount(2) with `directory` as working directory, so that short relative paths can stand in the options and
// in mountinfo. A thread of its own takes a working directory of its own (unshare(2), CLONE_FS).
Status MountFrom(const std::string& directory, const std::string& target, const std::string& options) {
  Status status;
  auto mount_here = [&] {
    if (::unshare(CLONE_FS) != 0) {
      status = ErrnoError(errno, "unshare");
    } else if (::chdir(directory.c_str()) != 0) {
      status = ErrnoError(errno, "chdir " + directory);
    } else {
      status = stasis::Mount("overlay", target, "overlay", 0, options);
    }
  };
  try {
    std::thread(mount_here).join();
  } catch (const std::system_error&) {
    return MakeError(StatusCode::kResourceExhausted, "cannot start a thread");
  }
  return status;
}

Status RemoveAsides(const std::string& directory) {
  STASIS_ASSIGN_OR_RETURN(const auto names, ListDirectory(directory));
  for (const std::string& name : names) {
    if (!name.starts_with(kAsidePrefix)) continue;
    STASIS_RETURN_IF_ERROR(RemoveTree(directory + "/" + name));
  }
  return absl::OkStatus();
}

std::string KeptName(absl::Time at) {
  char digits[24];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(absl::ToUnixMicros(at)));
  return std::string(kUpperKept) + digits;
}

// Nothing: it is no such name.
std::optional<absl::Time> KeptTime(std::string_view name) {
  if (!name.starts_with(kUpperKept)) return std::nullopt;
  name.remove_prefix(kUpperKept.size());
  uint64_t micros = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), micros, 16);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return absl::FromUnixMicros(static_cast<int64_t>(micros));
}

// The number first: a file that a power cut emptied is told from an image without layers.
std::string JoinLines(const std::vector<Digest>& layers) {
  std::string out = std::to_string(layers.size()) + "\n";
  for (const Digest& layer : layers) out += layer.str() + "\n";
  return out;
}

}  // namespace

StatusOr<std::unique_ptr<RootStore>> RootStore::Open(const std::string& directory, const LayerStore& layers) {
  STASIS_RETURN_IF_ERROR(MakeDirectories(directory));
  STASIS_RETURN_IF_ERROR(RemoveAsides(directory));
  return std::unique_ptr<RootStore>(new RootStore(directory, layers));
}

StatusOr<std::vector<Digest>> RootStore::ReadLayers(const std::string& container) const {
  STASIS_ASSIGN_OR_RETURN(std::string text,
                          ReadFile(directory_ + "/" + container + "/layers", kMaxLayersFile));
  std::vector<Digest> out;
  for (size_t begin = text.find('\n'); begin < text.size() - 1;) {
    size_t end = std::min(text.find('\n', ++begin), text.size());
    STASIS_ASSIGN_OR_RETURN(Digest layer, Digest::Parse(text.substr(begin, end - begin)));
    out.push_back(std::move(layer));
    begin = end;
  }
  if (text != JoinLines(out)) return DataLoss("damaged list of layers of " + container);
  return out;
}

StatusOr<std::vector<std::string>> RootStore::LowerDirectories(const ContainerId& container) const {
  STASIS_ASSIGN_OR_RETURN(const std::vector<Digest> layers, ReadLayers(container.str()));
  return LowerDirectories(layers);
}

StatusOr<std::vector<std::string>> RootStore::LowerDirectories(const std::vector<Digest>& layers) const {
  STASIS_ASSIGN_OR_RETURN(const std::string option, layers_.LowerDirectories(layers));
  std::vector<std::string> out;
  for (size_t begin = 0; begin < option.size();) {
    const size_t end = std::min(option.find(':', begin), option.size());
    out.push_back(layers_.directory() + "/" + option.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

StatusOr<std::vector<Digest>> RootStore::LayersInUse() const {
  STASIS_ASSIGN_OR_RETURN(auto names, ListDirectory(directory_));
  std::vector<Digest> out;
  for (const std::string& name : names) {
    if (!ContainerId::Parse(name).ok()) continue;
    STASIS_ASSIGN_OR_RETURN(const std::vector<Digest> layers, ReadLayers(name));
    out.insert(out.end(), layers.begin(), layers.end());
  }
  return out;
}

Status RootStore::Populate(const std::string& path, const std::vector<Digest>& layers) const {
  // The upper directory's mode is that of the container's "/".
  for (auto [name, mode] : {std::pair("upper", 0755), {"work", 0700}, {"merged", 0700}}) {
    std::string directory = path + "/" + name;
    if (::mkdir(directory.c_str(), 0700) != 0 || ::chmod(directory.c_str(), mode) != 0) {
      return ErrnoError(errno, "mkdir " + directory);
    }
  }
  return WriteFileDurably(path + "/layers", JoinLines(layers));
}

bool RootStore::Has(const ContainerId& container) const { return Exists(PathOf(container)); }

Status RootStore::Create(const ContainerId& container, const std::vector<Digest>& layers) const {
  if (Has(container)) return absl::OkStatus();
  STASIS_ASSIGN_OR_RETURN(TemporaryDirectory aside, TemporaryDirectory::Create(directory_, kAsidePrefix));
  STASIS_RETURN_IF_ERROR(Populate(aside.path(), layers));
  if (::rename(aside.path().c_str(), PathOf(container).c_str()) != 0) {
    return ErrnoError(errno, "rename " + PathOf(container));
  }
  aside.Release();
  STASIS_ASSIGN_OR_RETURN(const UniqueFd parent, OpenDirectory(directory_));
  return SyncDirectory(parent.get());
}

StatusOr<std::string> RootStore::Mount(const ContainerId& container,
                                       const std::vector<Digest>& layers) const {
  std::string merged = PathOf(container) + "/merged";
  STASIS_ASSIGN_OR_RETURN(bool mounted, IsMountPoint(merged));
  if (mounted) return merged;
  // A crash between the two renames of ReplaceUpper.
  if (!Exists(UpperDirectory(container))) {
    STASIS_RETURN_IF_ERROR(RevertUpper(container));
  }
  StatusOr<std::vector<Digest>> recorded = ReadLayers(container.str());
  if (!recorded.ok()) {
    STASIS_RETURN_IF_ERROR(WriteFileAtomically(PathOf(container) + "/layers", JoinLines(layers)));
  }
  STASIS_ASSIGN_OR_RETURN(std::string lower, layers_.LowerDirectories(recorded.ok() ? *recorded : layers));
  std::string options = FixedOptions() + "lowerdir=" + lower + ",upperdir=" + UpperDirectory(container) +
                        ",workdir=" + PathOf(container) + "/work";
  if (options.size() > kMaxMountOptions) return InvalidArgument("too many layers for one mount");
  STASIS_RETURN_IF_ERROR(MountFrom(layers_.directory(), merged, options));
  return merged;
}

Status RootStore::Unmount(const ContainerId& container) const {
  std::string merged = PathOf(container) + "/merged";
  if (!Exists(merged)) return absl::OkStatus();
  Status status = stasis::Unmount(merged, /*detach=*/false);
  // Somebody still holds a file in it: out of sight at once, gone when they let go.
  if (GetErrno(status) == EBUSY) status = stasis::Unmount(merged, /*detach=*/true);
  return status;
}

Status RootStore::ReplaceUpper(const ContainerId& container, const std::function<Status(int)>& fill) const {
  const std::string upper = UpperDirectory(container);
  const std::string replaced = PathOf(container) + kUpperReplaced;
  // Of a crash: else the only copy of what was there first would be taken for one of many.
  STASIS_RETURN_IF_ERROR(RevertUpper(container));
  STASIS_RETURN_IF_ERROR(RemoveAsides(PathOf(container)));
  STASIS_RETURN_IF_ERROR(Unmount(container));
  STASIS_ASSIGN_OR_RETURN(TemporaryDirectory made,
                          TemporaryDirectory::Create(PathOf(container), kAsidePrefix));
  STASIS_ASSIGN_OR_RETURN(const UniqueFd directory, OpenDirectory(made.path()));
  STASIS_RETURN_IF_ERROR(fill(directory.get()));
  // Of the mount before, and of a layer that is not there any more.
  STASIS_RETURN_IF_ERROR(RemoveTree(PathOf(container) + "/work"));
  STASIS_RETURN_IF_ERROR(MakeDirectories(PathOf(container) + "/work"));
  if (::rename(upper.c_str(), replaced.c_str()) != 0) return ErrnoError(errno, "rename " + upper);
  if (::rename(made.path().c_str(), upper.c_str()) != 0) {
    Status status = ErrnoError(errno, "rename " + made.path());
    ::rename(replaced.c_str(), upper.c_str());
    return status;
  }
  made.Release();
  return absl::OkStatus();
}

bool RootStore::IsUpperReplaced(const ContainerId& container) const {
  return Exists(PathOf(container) + kUpperReplaced);
}

Status RootStore::KeepUpper(const ContainerId& container) const {
  if (!IsUpperReplaced(container)) return absl::OkStatus();
  STASIS_ASSIGN_OR_RETURN(const std::vector<KeptUpper> kept, KeptUppers(container));
  absl::Time now = absl::Now();
  // A clock that was set back must not mix up their order.
  if (!kept.empty()) now = std::max(now, kept.back().at + kBetweenKept);
  const std::string replaced = PathOf(container) + kUpperReplaced;
  const std::string path = PathOf(container) + "/" + KeptName(now);
  if (::rename(replaced.c_str(), path.c_str()) != 0) return ErrnoError(errno, "rename " + replaced);
  // From now on the new layer is the container's, a power cut included.
  STASIS_ASSIGN_OR_RETURN(const UniqueFd directory, OpenDirectory(PathOf(container)));
  return SyncDirectory(directory.get());
}

StatusOr<std::vector<KeptUpper>> RootStore::KeptUppers(const ContainerId& container) const {
  std::vector<KeptUpper> kept;
  const auto names = ListDirectory(PathOf(container));
  if (absl::IsNotFound(names.status())) return kept;
  if (!names.ok()) return names.status();
  struct stat info;
  const std::string before = PathOf(container) + kUpperBefore;
  if (::lstat(before.c_str(), &info) == 0) kept.push_back({before, absl::TimeFromTimespec(info.st_ctim)});
  for (const std::string& name : *names) {
    if (const auto at = KeptTime(name)) kept.push_back({PathOf(container) + "/" + name, *at});
  }
  return kept;
}

Status RootStore::RemoveKeptUpper(const KeptUpper& kept) const {
  // By another name first: a part of it would be taken for all of it.
  const std::string parent = kept.path.substr(0, kept.path.rfind('/'));
  const std::string aside = parent + "/" + kAsidePrefix + RandomHex(8);
  if (::rename(kept.path.c_str(), aside.c_str()) != 0) return ErrnoError(errno, "rename " + kept.path);
  return RemoveTree(aside);
}

Status RootStore::RevertUpper(const ContainerId& container) const {
  if (!IsUpperReplaced(container)) return absl::OkStatus();
  const std::string replaced = PathOf(container) + kUpperReplaced;
  const std::string upper = UpperDirectory(container);
  STASIS_RETURN_IF_ERROR(Unmount(container));
  // Out of the way at once, whole: whoever still holds a file in it may keep it from being removed, and a
  // crash must not leave a part of it in place.
  const std::string aside = PathOf(container) + "/" + kAsidePrefix + RandomHex(8);
  if (::rename(upper.c_str(), aside.c_str()) != 0 && errno != ENOENT)
    return ErrnoError(errno, "rename " + upper);
  if (::rename(replaced.c_str(), upper.c_str()) != 0) return ErrnoError(errno, "rename " + replaced);
  RemoveTree(aside).IgnoreError();  // else the next replacement does
  return absl::OkStatus();
}

Status RootStore::Remove(const ContainerId& container) const {
  STASIS_RETURN_IF_ERROR(Unmount(container));
  return RemoveTree(PathOf(container));
}

}  // namespace stasis::image
