// Where pages may be: a table of hints in one file, mapped into memory and shared by all who use the store.
//
// It is a cache. A hint is believed only where the pack itself has that page under that number, so that lost,
// torn and stale entries, a crash, or a stranger's file cost time or space and nothing else. What it lacks is
// found again by RebuildPageIndex, from the packs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "linux/unique_fd.h"
#include "store/pack.h"

namespace stasis::store {

// Held by who replaces the file or must know that nobody does.
class PageIndexLock {
 public:
  static StatusOr<PageIndexLock> Take(const std::string& directory);

 private:
  explicit PageIndexLock(UniqueFd file) : file_(std::move(file)) {}
  UniqueFd file_;
};

// Thread-safe, and safe beside other processes.
class PageIndex {
 public:
  // The store's; made where it is missing or damaged, from the packs that are there.
  static StatusOr<std::shared_ptr<PageIndex>> Open(const std::string& directory);
  PageIndex(const PageIndex&) = delete;
  PageIndex& operator=(const PageIndex&) = delete;
  ~PageIndex();

  // The first hint for which `is_there` is true.
  std::optional<PageLocation> Find(const PageHash& hash,
                                   const std::function<bool(const PageLocation&)>& is_there) const;
  // False: it is full. Replace it by a larger one.
  bool Insert(const PageHash& hash, const PageLocation& location);

  uint64_t slots() const { return mask_ + 1; }
  // Whether the store's file is still this one.
  bool IsCurrent() const;

 private:
  struct Header;
  struct Slot;
  friend StatusOr<std::shared_ptr<PageIndex>> ReplacePageIndex(const std::string& directory, uint64_t pages,
                                                               const PageIndex* from,
                                                               const std::function<Status(PageIndex*)>& fill);

  PageIndex(std::string path, UniqueFd file, void* mapped, size_t size);

  const std::string path_;
  UniqueFd file_;
  void* const mapped_;
  const size_t size_;
  Header* const header_;
  Slot* const slots_;
  const uint64_t mask_;
};

// A new one in its place, for twice as many pages, with the hints of `index`. The caller has the lock.
StatusOr<std::shared_ptr<PageIndex>> GrowPageIndex(const std::string& directory, const PageIndex& index);

// A new one in its place, of all packs. The caller has the lock.
StatusOr<std::shared_ptr<PageIndex>> RebuildPageIndex(const std::string& directory);

}  // namespace stasis::store
