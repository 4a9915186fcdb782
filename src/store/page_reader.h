// Reading pages by their hashes.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "store/pack_set.h"
#include "store/page.h"
#include "store/page_index.h"

namespace stasis::store {

// Finds where a page is. Thread-safe.
class PageFinder {
 public:
  // A store that is not there is an empty one, and is made.
  static StatusOr<std::unique_ptr<PageFinder>> Open(const std::string& directory);

  struct Place {
    std::shared_ptr<const Pack> pack;
    uint32_t entry = 0;
  };
  // Looks behind `*place` first: pages that were stored together are mostly wanted together. kDataLoss: the
  // store does not have it; where it had, in a pack that is damaged, the message names that.
  Status Find(const PageHash& hash, Place* place);

 private:
  PageFinder(std::shared_ptr<StoreFiles> files, std::shared_ptr<PageIndex> index)
      : files_(std::move(files)), packs_(files_->directory()), index_(std::move(index)) {}
  std::shared_ptr<PageIndex> index();
  // `damage` becomes that of a pack which should have it.
  bool FindIn(const PageIndex& index, const PageHash& hash, bool may_be_damaged, Place* place,
              Status* damage);
  // Makes the index anew, if it is still `old`, once.
  Status Renew(const std::shared_ptr<PageIndex>& old);

  const std::shared_ptr<StoreFiles> files_;  // keeps the store
  PackSet packs_;
  std::mutex mutex_;
  std::shared_ptr<PageIndex> index_;
  bool rebuilt_ = false;
};

// Reads pages that mostly follow each other in their packs. One for each thread.
class PageReader {
 public:
  explicit PageReader(PageFinder* finder) : finder_(finder) {}

  // Checked against its hash. kDataLoss: it is not there, or not what was stored.
  Status Read(const PageHash& hash, char* page);

  // The first pages of `hashes`, as many as follow each other in one block, one at least; valid until the
  // next call. None may be zeros. Checked by the block's hash: what its pack says is taken for true.
  // kDataLoss.
  StatusOr<std::string_view> ReadRun(std::span<const PageHash> hashes);

 private:
  struct Block {
    std::shared_ptr<const Pack> pack;
    uint32_t number = 0;
    std::string buffer;
    std::string_view pages;  // in it, or in the pack
  };
  StatusOr<const Block*> GetBlock(const PageFinder::Place& place);

  PageFinder* const finder_;
  PageFinder::Place place_;
  std::list<Block> blocks_;  // the last one used first
  PageHasher hasher_;
};

}  // namespace stasis::store
