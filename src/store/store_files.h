// The changes that the store makes to its directory, each named once, so that a test can fail any of them and
// drop what was not made durable (store_crash_test.cc).
//
//   DIRECTORY/                      0700
//     packs/                        0700
//       XXXXXXXX.pack               0600, pack.h; never changed once it has this name
//       XXXXXXXX.damaged            0600, empty: a verifier has found that pack damaged
//       .partial-XXXXXXXX           one whose writer has not committed, or died
//     page-index                    0600, page_index.h; may be removed at any time
//     page-index.lock               0600
//     collector.lock                0600
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "linux/unique_fd.h"

namespace stasis::store {

using PackId = uint32_t;  // never 0

std::string PackName(PackId id);
std::string PartialPackName(PackId id);
std::string DamageMarkName(PackId id);

// One new file, until it has its name.
class NewPackFile {
 public:
  virtual ~NewPackFile() = default;
  virtual Status Write(std::string_view bytes) = 0;
  virtual Status Sync() = 0;
};

// Not thread-safe; one for each user of a store.
class StoreFiles {
 public:
  virtual ~StoreFiles() = default;
  virtual const std::string& directory() const = 0;
  // packs/.partial-ID, with a shared flock(2) that keeps it, under both its names, from being collected.
  // kAlreadyExists: the id is taken, by either.
  virtual StatusOr<std::unique_ptr<NewPackFile>> Create(PackId id) = 0;
  // Gives it its name. Durable once SyncPacks has returned.
  virtual Status Publish(PackId id) = 0;
  virtual Status SyncPacks() = 0;
  // Notes that the pack is damaged, or that it is not, for all who open it from now on. Durable.
  virtual Status MarkDamaged(PackId id, bool damaged) = 0;
  // The one that has its name, with its mark, and the one that has not. That there is none is no error.
  virtual Status Remove(PackId id) = 0;
  virtual Status RemovePartial(PackId id) = 0;
};

// The real ones. Makes DIRECTORY and packs/ where they are missing, and keeps them, by a shared flock(2) of
// DIRECTORY, for as long as it lives. An error where one of them is a link.
StatusOr<std::shared_ptr<StoreFiles>> OpenStoreFiles(const std::string& directory);

// Removes a store that holds no pack and that nobody has open; else does nothing. What is no store's stays.
Status RemoveEmptyStore(const std::string& directory);

std::string PacksPath(const std::string& directory);
// The ids of the packs in DIRECTORY; no such directory: none. Anything else in it is passed over.
StatusOr<std::vector<PackId>> ListPacks(const std::string& directory);
// Removes what dead writers left, and marks of packs that are gone.
Status RemovePartialPacks(const std::string& directory);

}  // namespace stasis::store
