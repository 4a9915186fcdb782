#include "store/store_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <utility>

#include "linux/files.h"
#include "linux/regular_file.h"

namespace stasis::store {
namespace {

constexpr char kPacks[] = "packs";
constexpr char kSuffix[] = ".pack";
constexpr char kPartialPrefix[] = ".partial-";
constexpr char kDamagedSuffix[] = ".damaged";
constexpr int kAttempts = 100;

std::string IdText(PackId id) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (int shift = 28; shift >= 0; shift -= 4) text += kHex[(id >> shift) & 15];
  return text;
}

class RealFile : public NewPackFile {
 public:
  explicit RealFile(UniqueFd file) : file_(std::move(file)) {}

  Status Write(std::string_view bytes) override {
    STASIS_RETURN_IF_ERROR(WriteAll(file_.get(), bytes));
    // So that the disk is busy already when it is waited for.
    static_cast<void>(
        ::sync_file_range(file_.get(), written_, static_cast<off_t>(bytes.size()), SYNC_FILE_RANGE_WRITE));
    written_ += static_cast<off_t>(bytes.size());
    return absl::OkStatus();
  }

  Status Sync() override {
    return ::fsync(file_.get()) == 0 ? absl::OkStatus() : ErrnoError(errno, "fsync a pack");
  }

 private:
  UniqueFd file_;
  off_t written_ = 0;
};

class RealFiles : public StoreFiles {
 public:
  RealFiles(std::string directory, UniqueFd lock, UniqueFd packs)
      : directory_(std::move(directory)), lock_(std::move(lock)), packs_(std::move(packs)) {}
  const std::string& directory() const override { return directory_; }

  StatusOr<std::unique_ptr<NewPackFile>> Create(PackId id) override {
    const std::string name = PartialPackName(id);
    STASIS_ASSIGN_OR_RETURN(UniqueFd file,
                            OpenFileAt(packs_.get(), name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
    const bool locked = ::flock(file.get(), LOCK_SH | LOCK_NB) == 0;
    if (!locked && errno != EWOULDBLOCK) {
      const Status status = ErrnoError(errno, "lock " + name);
      RemovePartial(id).IgnoreError();
      return status;
    }
    // A collector that came before the lock took the file for a dead writer's.
    struct stat info;
    if (!locked || ::fstat(file.get(), &info) != 0 || info.st_nlink == 0)
      return AlreadyExists(name + " is being removed");
    // Only we can give it this name from here on, so that it is asked for but once.
    if (::faccessat(packs_.get(), PackName(id).c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
      STASIS_RETURN_IF_ERROR(RemovePartial(id));
      return AlreadyExists(PackName(id) + " is there already");
    }
    return std::make_unique<RealFile>(std::move(file));
  }

  Status Publish(PackId id) override {
    if (::renameat2(packs_.get(), PartialPackName(id).c_str(), packs_.get(), PackName(id).c_str(),
                    RENAME_NOREPLACE) == 0)
      return absl::OkStatus();
    return ErrnoError(errno, "publish " + PackName(id));
  }

  Status SyncPacks() override {
    // The store and packs/ may be as new as what is in them.
    for (const char* directory : {".", "..", "../.."}) {
      STASIS_ASSIGN_OR_RETURN(const UniqueFd opened, OpenDirectoryAt(packs_.get(), directory));
      STASIS_RETURN_IF_ERROR(SyncDirectory(opened.get()));
    }
    return absl::OkStatus();
  }

  Status MarkDamaged(PackId id, bool damaged) override {
    const std::string name = DamageMarkName(id);
    if (!damaged) {
      STASIS_RETURN_IF_ERROR(Unlink(name));
    } else if (const auto mark = OpenRegularFileAt(packs_.get(), name, O_WRONLY | O_CREAT, 0600);
               !mark.ok()) {
      return mark.status();
    }
    return SyncDirectory(packs_.get());
  }

  Status Remove(PackId id) override {
    STASIS_RETURN_IF_ERROR(Unlink(PackName(id)));
    return Unlink(DamageMarkName(id));
  }
  Status RemovePartial(PackId id) override { return Unlink(PartialPackName(id)); }

 private:
  Status Unlink(const std::string& name) {
    if (::unlinkat(packs_.get(), name.c_str(), 0) == 0 || errno == ENOENT) return absl::OkStatus();
    return ErrnoError(errno, "remove " + name);
  }

  const std::string directory_;
  UniqueFd lock_;
  UniqueFd packs_;
};

Status LockShared(int directory, const std::string& name) {
  while (::flock(directory, LOCK_SH) != 0) {
    if (errno != EINTR) return ErrnoError(errno, "lock " + name);
  }
  return absl::OkStatus();
}

// Not what a link leads to: a directory of checkpoints may be a stranger's work, and another store's packs,
// seen through a link, would be garbage here.
StatusOr<UniqueFd> OpenItself(int parent, const std::string& name) {
  return OpenFileAt(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

// Beside packs/.
bool IsOwnFile(std::string_view name) {
  return name == "page-index" || name == "page-index.lock" || name == "collector.lock" ||
         name.starts_with(std::string(kAsidePrefix) + "page-index-");
}

bool IsStillThere(int directory, const std::string& path) {
  struct stat opened;
  struct stat there;
  return ::fstat(directory, &opened) == 0 && ::lstat(path.c_str(), &there) == 0 &&
         opened.st_ino == there.st_ino && opened.st_dev == there.st_dev;
}

// The id in PREFIX ID SUFFIX.
PackId ParseName(std::string_view name, std::string_view prefix, std::string_view suffix) {
  PackId id = 0;
  if (name.size() != prefix.size() + 8 + suffix.size() || !name.starts_with(prefix) ||
      !name.ends_with(suffix))
    return 0;
  name = name.substr(prefix.size(), 8);
  if (name.find_first_not_of("0123456789abcdef") != name.npos) return 0;
  std::from_chars(name.data(), name.data() + name.size(), id, 16);
  return id;
}

}  // namespace

std::string PackName(PackId id) { return IdText(id) + kSuffix; }

std::string PartialPackName(PackId id) { return kPartialPrefix + IdText(id); }

std::string DamageMarkName(PackId id) { return IdText(id) + kDamagedSuffix; }

std::string PacksPath(const std::string& directory) { return directory + "/" + kPacks; }

StatusOr<std::shared_ptr<StoreFiles>> OpenStoreFiles(const std::string& directory) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    STASIS_RETURN_IF_ERROR(MakeDirectories(directory));
    auto lock = OpenItself(AT_FDCWD, directory);
    if (absl::IsNotFound(lock.status())) continue;
    if (!lock.ok()) return lock.status();
    STASIS_RETURN_IF_ERROR(LockShared(lock->get(), directory));
    // It may have been removed, for being empty, before we had the lock.
    if (!IsStillThere(lock->get(), directory)) continue;
    if (::mkdirat(lock->get(), kPacks, 0700) != 0 && errno != EEXIST)
      return ErrnoError(errno, "mkdir " + PacksPath(directory));
    STASIS_ASSIGN_OR_RETURN(UniqueFd packs, OpenItself(lock->get(), kPacks));
    return std::make_shared<RealFiles>(directory, *std::move(lock), std::move(packs));
  }
  return Unavailable(directory + " is being removed again and again");
}

Status RemoveEmptyStore(const std::string& directory) {
  const auto lock = OpenItself(AT_FDCWD, directory);
  if (absl::IsNotFound(lock.status())) return absl::OkStatus();
  if (!lock.ok()) return lock.status();
  if (::flock(lock->get(), LOCK_EX | LOCK_NB) != 0) return absl::OkStatus();
  STASIS_ASSIGN_OR_RETURN(const std::vector<PackId> ids, ListPacks(directory));
  if (!ids.empty()) return absl::OkStatus();
  if (const auto packs = OpenItself(lock->get(), kPacks); packs.ok()) {
    STASIS_RETURN_IF_ERROR(RemovePartialPacks(directory));
  }
  // What is a stranger's stays, and what it is in: the name may have been taken before we came.
  const auto remove = [&](int parent, const std::string& name, int flags) -> Status {
    if (::unlinkat(parent, name.c_str(), flags) == 0) return absl::OkStatus();
    if (errno == ENOENT || errno == ENOTEMPTY || errno == ENOTDIR || errno == EISDIR) return absl::OkStatus();
    return ErrnoError(errno, "remove " + name + " of " + directory);
  };
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(lock->get()));
  for (const std::string& name : names) {
    if (!IsOwnFile(name)) continue;
    STASIS_RETURN_IF_ERROR(remove(lock->get(), name, 0));
  }
  STASIS_RETURN_IF_ERROR(remove(lock->get(), kPacks, AT_REMOVEDIR));
  return remove(AT_FDCWD, directory, AT_REMOVEDIR);
}

StatusOr<std::vector<PackId>> ListPacks(const std::string& directory) {
  std::vector<PackId> ids;
  auto names = ListDirectory(PacksPath(directory));
  if (absl::IsNotFound(names.status())) return ids;
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    if (const PackId id = ParseName(name, "", kSuffix); id != 0) ids.push_back(id);
  }
  return ids;
}

Status RemovePartialPacks(const std::string& directory) {
  auto packs = OpenDirectory(PacksPath(directory));
  if (absl::IsNotFound(packs.status())) return absl::OkStatus();
  if (!packs.ok()) return packs.status();
  STASIS_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(packs->get()));
  for (const std::string& name : names) {
    const PackId marked = ParseName(name, "", kDamagedSuffix);
    if (marked != 0 && ::faccessat(packs->get(), PackName(marked).c_str(), F_OK, AT_SYMLINK_NOFOLLOW) != 0 &&
        errno == ENOENT)
      ::unlinkat(packs->get(), name.c_str(), 0);
    if (ParseName(name, kPartialPrefix, "") == 0) continue;
    auto file = OpenFileAt(packs->get(), name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    if (!file.ok() || ::flock(file->get(), LOCK_EX | LOCK_NB) != 0) continue;  // its writer lives
    // Published between our listing and our lock, it has another name by now.
    if (::unlinkat(packs->get(), name.c_str(), 0) != 0 && errno != ENOENT)
      return ErrnoError(errno, "remove " + name);
  }
  return absl::OkStatus();
}

}  // namespace stasis::store
