#include "manifest/checkpoint_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "base/sha256.h"
#include "linux/files.h"
#include "linux/random_hex.h"

namespace stasis {
namespace {

// Of a chain the first will do, and of a directory that many containers share in turn the first of these.
constexpr size_t kMostLookedAt = 64;

std::string Quoted(const CheckpointName& name) { return "checkpoint " + name.str(); }

// A file of a checkpoint. Links and anything that is no regular file are refused, so that neither a FIFO
// blocks us nor a link shows what lies elsewhere.
StatusOr<std::string> ReadRegularFile(int checkpoint, const std::string& name, size_t limit) {
  STASIS_ASSIGN_OR_RETURN(UniqueFd file,
                          OpenFileAt(checkpoint, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  struct stat info;
  if (::fstat(file.get(), &info) != 0) return ErrnoError(errno, "fstat " + name);
  if (!S_ISREG(info.st_mode)) return DataLoss(name + ": not a regular file");
  return ReadAll(file.get(), limit);
}

StatusOr<UniqueFd> OpenCheckpoint(int directory, const std::string& name) {
  return OpenFileAt(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

StatusOr<std::string> ReadManifestText(int checkpoint) {
  return ReadRegularFile(checkpoint, kManifestFile, kMaxManifest);
}

StatusOr<Manifest> ReadManifestAt(int directory, const std::string& name) {
  STASIS_ASSIGN_OR_RETURN(const UniqueFd checkpoint, OpenCheckpoint(directory, name));
  STASIS_ASSIGN_OR_RETURN(const std::string text, ReadManifestText(checkpoint.get()));
  // Parsed first: one of another version says so.
  auto manifest = ParseManifest(text);
  if (absl::IsUnimplemented(manifest.status())) return manifest;
  const auto digest = ReadRegularFile(checkpoint.get(), kManifestDigestFile, 256);
  if (digest.ok() && *digest == ManifestDigestLine(text)) return manifest;
  return DataLoss(std::string(kManifestFile) + " is not what " + kManifestDigestFile + " says");
}

// No directory of that name with a manifest in it.
bool IsAbsent(const Status& status) {
  int error = GetErrno(status);
  return error == ENOENT || error == ENOTDIR || error == ELOOP;
}

StatusOr<Manifest> ReadManifestIn(int directory, const CheckpointName& name) {
  auto manifest = ReadManifestAt(directory, name.str());
  if (IsAbsent(manifest.status())) return NotFound(Quoted(name) + " does not exist");
  if (!manifest.ok()) return Annotate(manifest.status(), Quoted(name));
  return manifest;
}

// ".NAME.partial-0123456789abcdef" or ".NAME.deleted-01234567", and nothing of a stranger's that looks alike.
bool IsMadeAside(std::string_view name) {
  if (!name.starts_with('.')) return false;
  for (const std::string_view mark : {kPartialMark, kDeletedMark}) {
    const size_t at = name.rfind(mark);
    if (at == name.npos || at == 0) continue;
    const std::string_view random = name.substr(at + mark.size());
    return (random.size() == 8 || random.size() == 16) &&
           random.find_first_not_of("0123456789abcdef") == random.npos &&
           CheckpointName::Parse(name.substr(1, at - 1)).ok();
  }
  return false;
}

}  // namespace

std::string ManifestDigestLine(std::string_view manifest) {
  return Hex(Sha256Of(manifest)) + "  " + kManifestFile + "\n";
}

std::string CheckpointPath(const std::string& directory, const CheckpointName& name) {
  return directory + "/" + name.str();
}

StatusOr<std::vector<FoundCheckpoint>> FindCheckpoints(const std::vector<std::string>& directories) {
  std::vector<FoundCheckpoint> found;
  for (const std::string& directory : directories) {
    const auto opened = OpenDirectory(directory);
    if (absl::IsNotFound(opened.status())) continue;
    if (!opened.ok()) return opened.status();
    STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(opened->get()));
    for (const std::string& raw : names) {
      const auto name = CheckpointName::Parse(raw);
      if (!name.ok()) continue;
      auto manifest = ReadManifestIn(opened->get(), *name);
      if (!absl::IsNotFound(manifest.status())) found.push_back({directory, raw, std::move(manifest)});
    }
  }
  return found;
}

StatusOr<std::vector<std::string>> ListCheckpointNames(const std::string& directory) {
  std::vector<std::string> found;
  const auto opened = OpenDirectory(directory);
  if (absl::IsNotFound(opened.status())) return found;
  if (!opened.ok()) return opened.status();
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(opened->get()));
  for (const std::string& name : names) {
    if (!CheckpointName::Parse(name).ok()) continue;
    const auto checkpoint = OpenCheckpoint(opened->get(), name);
    struct stat info;
    if (checkpoint.ok() && ::fstatat(checkpoint->get(), kManifestFile, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
        !S_ISLNK(info.st_mode))
      found.push_back(name);
  }
  return found;
}

StatusOr<std::optional<Manifest>> FindNewest(const std::string& directory,
                                             const std::function<bool(const Manifest&)>& wanted) {
  const auto opened = OpenDirectory(directory);
  if (absl::IsNotFound(opened.status())) return std::nullopt;
  if (!opened.ok()) return opened.status();
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(opened->get()));
  std::vector<std::pair<int64_t, CheckpointName>> by_time;
  for (const std::string& raw : names) {
    const auto name = CheckpointName::Parse(raw);
    struct stat info;
    if (name.ok() && ::fstatat(opened->get(), raw.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISDIR(info.st_mode))
      by_time.emplace_back(info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec, *name);
  }
  const size_t looked_at = std::min(by_time.size(), kMostLookedAt);
  const auto newer = [](const auto& one, const auto& other) { return one.first > other.first; };
  std::partial_sort(by_time.begin(), by_time.begin() + static_cast<ptrdiff_t>(looked_at), by_time.end(),
                    newer);
  for (size_t i = 0; i < looked_at; ++i) {
    auto manifest = ReadManifestIn(opened->get(), by_time[i].second);
    if (manifest.ok() && wanted(*manifest)) return *std::move(manifest);
  }
  return std::nullopt;
}

StatusOr<bool> CheckpointExists(const std::string& directory, const CheckpointName& name) {
  struct stat info;
  if (::lstat(CheckpointPath(directory, name).c_str(), &info) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return ErrnoError(errno, "stat " + CheckpointPath(directory, name));
}

Status WriteManifest(const std::string& checkpoint, const Manifest& manifest) {
  const std::string text = ToText(manifest);
  // One that could not be read again would be a container lost.
  STASIS_RETURN_IF_ERROR(Annotate(ParseManifest(text).status(), "what is to be written"));
  STASIS_RETURN_IF_ERROR(
      WriteFileAtomically(checkpoint + "/" + kManifestDigestFile, ManifestDigestLine(text)));
  return WriteFileAtomically(checkpoint + "/" + kManifestFile, text);
}

StatusOr<Manifest> ReadManifest(const std::string& directory, const CheckpointName& name) {
  auto opened = OpenDirectory(directory);
  if (absl::IsNotFound(opened.status())) return NotFound(Quoted(name) + " does not exist");
  if (!opened.ok()) return opened.status();
  return ReadManifestIn(opened->get(), name);
}

Status DeleteCheckpoint(const std::string& directory, const CheckpointName& name) {
  auto opened = OpenDirectory(directory);
  if (absl::IsNotFound(opened.status())) return NotFound(Quoted(name) + " does not exist");
  if (!opened.ok()) return opened.status();
  // A directory that holds no manifest is somebody's own, and is left alone: DIRECTORY is the caller's
  // choice.
  const auto checkpoint = OpenCheckpoint(opened->get(), name.str());
  if (IsAbsent(checkpoint.status()) ||
      (checkpoint.ok() && IsAbsent(ReadManifestText(checkpoint->get()).status())))
    return NotFound(Quoted(name) + " does not exist");
  // So that nobody takes what we are removing for a dead one's. That it is gone the rename will say.
  if (checkpoint.ok()) LockAside(checkpoint->get());
  std::string aside = "." + name.str() + kDeletedMark + RandomHex(4);
  if (::renameat(opened->get(), name.str().c_str(), opened->get(), aside.c_str()) != 0) {
    return ErrnoError(errno, "delete " + Quoted(name));
  }
  STASIS_RETURN_IF_ERROR(SyncDirectory(opened->get()));
  return Annotate(RemoveTreeAt(opened->get(), aside), "delete " + Quoted(name));
}

bool LockAside(int made_aside) {
  struct stat info;
  return ::flock(made_aside, LOCK_SH | LOCK_NB) == 0 && ::fstat(made_aside, &info) == 0 && info.st_nlink > 0;
}

Status RemoveLeftovers(const std::string& directory) {
  auto opened = OpenDirectory(directory);
  if (absl::IsNotFound(opened.status())) return absl::OkStatus();
  if (!opened.ok()) return opened.status();
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(opened->get()));
  for (const std::string& name : names) {
    if (!IsMadeAside(name)) continue;
    const auto aside = OpenCheckpoint(opened->get(), name);
    if (!aside.ok() || ::flock(aside->get(), LOCK_EX | LOCK_NB) != 0) continue;  // somebody is at it
    STASIS_RETURN_IF_ERROR(RemoveTreeAt(opened->get(), name));
  }
  return absl::OkStatus();
}

}  // namespace stasis
