#include "store/page_index.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <bit>
#include <cstring>
#include <utility>

#include "linux/files.h"
#include "linux/random_hex.h"
#include "linux/regular_file.h"

namespace stasis::store {
namespace {

constexpr char kName[] = "page-index";
constexpr char kLockName[] = "page-index.lock";
constexpr char kMagic[8] = {'S', 'T', 'A', 'S', 'I', 'N', 'D', '1'};
constexpr uint64_t kLeastSlots = 1 << 16;
constexpr uint64_t kMostSlots = 1ull << 36;

std::string PathOf(const std::string& directory) { return directory + "/" + kName; }
std::string AsidePrefix() { return std::string(kAsidePrefix) + kName + "-"; }

uint64_t Fingerprint(const PageHash& hash) {
  uint64_t fingerprint;
  std::memcpy(&fingerprint, hash.data(), sizeof fingerprint);
  return fingerprint;
}

uint64_t Packed(const PageLocation& location) { return uint64_t{location.pack} << 32 | location.entry; }
PageLocation Unpacked(uint64_t packed) {
  return {static_cast<PackId>(packed >> 32), static_cast<uint32_t>(packed)};
}

}  // namespace

struct PageIndex::Header {
  char magic[8];
  uint64_t slots;  // a power of two
  std::atomic<uint64_t> used;
  uint64_t unused[5];
};

struct PageIndex::Slot {
  std::atomic<uint64_t> location;     // 0: free
  std::atomic<uint64_t> fingerprint;  // written after it
};

// ---- the lock

StatusOr<PageIndexLock> PageIndexLock::Take(const std::string& directory) {
  const std::string path = directory + "/" + kLockName;
  STASIS_ASSIGN_OR_RETURN(UniqueFd file, OpenRegularFile(path, O_RDWR | O_CREAT, 0600));
  while (::flock(file.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return ErrnoError(errno, "lock " + path);
  }
  return PageIndexLock(std::move(file));
}

// ---- one file

PageIndex::PageIndex(std::string path, UniqueFd file, void* mapped, size_t size)
    : path_(std::move(path)),
      file_(std::move(file)),
      mapped_(mapped),
      size_(size),
      header_(static_cast<Header*>(mapped)),
      slots_(reinterpret_cast<Slot*>(static_cast<char*>(mapped) + sizeof(Header))),
      mask_((size - sizeof(Header)) / sizeof(Slot) - 1) {}

PageIndex::~PageIndex() { ::munmap(mapped_, size_); }

std::optional<PageLocation> PageIndex::Find(const PageHash& hash,
                                            const std::function<bool(const PageLocation&)>& is_there) const {
  const uint64_t fingerprint = Fingerprint(hash);
  for (uint64_t probe = 0; probe <= mask_; ++probe) {
    const Slot& slot = slots_[(fingerprint + probe) & mask_];
    const uint64_t location = slot.location.load(std::memory_order_acquire);
    if (location == 0) return std::nullopt;
    if (slot.fingerprint.load(std::memory_order_acquire) != fingerprint) continue;
    if (is_there(Unpacked(location))) return Unpacked(location);
  }
  return std::nullopt;
}

bool PageIndex::Insert(const PageHash& hash, const PageLocation& location) {
  // Three quarters at most, so that a search is short. The count is a hint as well.
  if (header_->used.load(std::memory_order_relaxed) > mask_ / 4 * 3) return false;
  const uint64_t fingerprint = Fingerprint(hash);
  for (uint64_t probe = 0; probe <= mask_; ++probe) {
    Slot& slot = slots_[(fingerprint + probe) & mask_];
    uint64_t free = 0;
    if (!slot.location.compare_exchange_strong(free, Packed(location))) continue;
    slot.fingerprint.store(fingerprint, std::memory_order_release);
    header_->used.fetch_add(1, std::memory_order_relaxed);
    return true;
  }
  return false;
}

bool PageIndex::IsCurrent() const {
  struct stat mine;
  struct stat there;
  return ::fstat(file_.get(), &mine) == 0 && ::lstat(path_.c_str(), &there) == 0 &&
         mine.st_ino == there.st_ino && mine.st_dev == there.st_dev;
}

StatusOr<std::shared_ptr<PageIndex>> PageIndex::Open(const std::string& directory) {
  const std::string path = PathOf(directory);
  const auto open = [&]() -> std::shared_ptr<PageIndex> {
    auto file = OpenFile(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
    struct stat info;
    if (!file.ok() || ::fstat(file->get(), &info) != 0 || !S_ISREG(info.st_mode)) return nullptr;
    const auto size = static_cast<size_t>(info.st_size);
    const uint64_t slots = size < sizeof(Header) ? 0 : (size - sizeof(Header)) / sizeof(Slot);
    if (!std::has_single_bit(slots) || size != sizeof(Header) + slots * sizeof(Slot)) return nullptr;
    void* mapped = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file->get(), 0);
    if (mapped == MAP_FAILED) return nullptr;
    std::shared_ptr<PageIndex> index(new PageIndex(path, *std::move(file), mapped, size));
    if (std::memcmp(index->header_->magic, kMagic, sizeof kMagic) != 0 || index->header_->slots != slots)
      return nullptr;
    return index;
  };
  if (auto index = open()) return index;
  STASIS_ASSIGN_OR_RETURN(const PageIndexLock lock, PageIndexLock::Take(directory));
  if (auto index = open()) return index;
  return RebuildPageIndex(directory);
}

// ---- a new one in its place

namespace {

// Of what was being made when its maker died. The lock is held, so that nothing is being made now.
void RemoveAsides(const std::string& directory) {
  const auto names = ListDirectory(directory);
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    if (name.starts_with(AsidePrefix())) ::unlink((directory + "/" + name).c_str());
  }
}

}  // namespace

StatusOr<std::shared_ptr<PageIndex>> ReplacePageIndex(const std::string& directory, uint64_t pages,
                                                      const PageIndex* from,
                                                      const std::function<Status(PageIndex*)>& fill) {
  const uint64_t slots = std::max(kLeastSlots, std::bit_ceil(2 * pages));
  if (slots > kMostSlots) return MakeError(StatusCode::kResourceExhausted, "the store has too many pages");
  const std::string path = PathOf(directory);
  RemoveAsides(directory);
  const std::string aside = directory + "/" + AsidePrefix() + RandomHex(4);
  STASIS_ASSIGN_OR_RETURN(UniqueFd file, OpenFile(aside, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  const size_t size = sizeof(PageIndex::Header) + slots * sizeof(PageIndex::Slot);
  const auto make = [&]() -> StatusOr<std::shared_ptr<PageIndex>> {
    // Allocated, so that a full disk is an error here and not a signal (SIGBUS) later.
    if (int error = ::posix_fallocate(file.get(), 0, static_cast<off_t>(size)); error != 0)
      return ErrnoError(error, "allocate " + path);
    void* mapped = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    if (mapped == MAP_FAILED) return ErrnoError(errno, "mmap " + path);
    std::shared_ptr<PageIndex> index(new PageIndex(path, std::move(file), mapped, size));
    std::memcpy(index->header_->magic, kMagic, sizeof kMagic);
    index->header_->slots = slots;
    for (uint64_t i = 0; from != nullptr && i <= from->mask_; ++i) {
      const PageIndex::Slot& slot = from->slots_[i];
      const uint64_t location = slot.location.load(std::memory_order_acquire);
      PageHash hash = {};  // its beginning is all that an index knows of it
      const uint64_t fingerprint = slot.fingerprint.load(std::memory_order_acquire);
      std::memcpy(hash.data(), &fingerprint, sizeof fingerprint);
      if (location != 0) index->Insert(hash, Unpacked(location));
    }
    STASIS_RETURN_IF_ERROR(fill(index.get()));
    if (::rename(aside.c_str(), path.c_str()) != 0) return ErrnoError(errno, "rename " + aside);
    return index;
  };
  auto made = make();
  if (!made.ok()) ::unlink(aside.c_str());
  return made;
}

StatusOr<std::shared_ptr<PageIndex>> GrowPageIndex(const std::string& directory, const PageIndex& index) {
  return ReplacePageIndex(directory, index.slots(), &index, [](PageIndex*) { return absl::OkStatus(); });
}

StatusOr<std::shared_ptr<PageIndex>> RebuildPageIndex(const std::string& directory) {
  STASIS_ASSIGN_OR_RETURN(const std::vector<PackId> ids, ListPacks(directory));
  uint64_t pages = 0;
  const auto for_each_pack = [&](const std::function<void(const Pack&)>& use) -> Status {
    for (const PackId id : ids) {
      auto pack = Pack::Open(directory, id);
      if (pack.ok()) {
        use(**pack);
      } else if (!absl::IsNotFound(pack.status()) && !absl::IsDataLoss(pack.status())) {
        return pack.status();  // a damaged one has no page that anybody could use
      }
    }
    return absl::OkStatus();
  };
  STASIS_RETURN_IF_ERROR(for_each_pack([&](const Pack& pack) { pages += pack.pages(); }));
  return ReplacePageIndex(directory, pages, nullptr, [&](PageIndex* index) {
    return for_each_pack([&](const Pack& pack) {
      for (uint32_t entry = 0; entry < pack.pages(); ++entry)
        index->Insert(pack.hash(entry), {pack.id(), entry});
    });
  });
}

}  // namespace stasis::store
