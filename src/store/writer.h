// Putting streams into a store.
#pragma once

#include <deque>
#include <future>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "store/pack_set.h"
#include "store/pack_writer.h"
#include "store/page_index.h"
#include "store/page_tree.h"
#include "store/store_files.h"

namespace stasis::store {

// What is put in is there for good once Commit has returned, and is kept from being collected until the end
// of the writer's life: by then, something that the collector knows of has to name it. Until then nobody else
// sees anything of it, and nothing of it is left without Commit; a Commit that fails may leave packs that
// nobody needs to the next collection. Many may write at once, also from several processes. After an error
// only the destructor may be called. One thread, which hashing and compressing run beside.
class Writer {
 public:
  static StatusOr<std::unique_ptr<Writer>> Start(const std::string& directory);
  static StatusOr<std::unique_ptr<Writer>> Start(std::shared_ptr<StoreFiles> files,
                                                 uint32_t pack_pages = kMaxPackPages);
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // A stream piece by piece; one at a time.
  Status Append(std::string_view bytes);
  // The same, at next to no cost where they are many.
  Status AppendZeros(uint64_t size);
  StatusOr<StreamId> EndStream();

  // Makes a stream that may be there already one of this writer's, without its bytes. False: the store lacks
  // some of it.
  StatusOr<bool> Adopt(const StreamId& stream);

  // One page, for the collector, which moves pages.
  Status AddPage(const PageHash& hash, const char* page);

  Status Commit();

  // Disk space of what was new.
  uint64_t stored_bytes() const { return stored_bytes_ + (pack_ ? pack_->bytes() : 0); }
  uint64_t new_pages() const { return new_pages_; }

 private:
  struct Hashed {
    std::string pages;
    std::vector<PageHash> hashes;
    uint64_t zeros = 0;  // pages, after these
  };
  static Hashed HashPages(std::string pages);
  struct Node {
    PageHash hash;
    std::string page;
  };

  Writer(std::shared_ptr<StoreFiles> files, uint32_t pack_pages, std::shared_ptr<PageIndex> index);
  StatusOr<bool> AdoptPage(const PageHash& page, uint32_t depth);
  Status EndBatch();
  Status TakeBatch();  // the oldest
  bool Has(const PageLocation& location, const PageHash& hash);
  bool IsThere(const PageHash& hash);
  // Of a tree. Nodes are read on their own, before the pages: so they follow each other at the end of a pack.
  Status AddNode(const PageHash& hash, const char* node);
  Status PutPage(const PageHash& hash, const char* page);
  Status MakeRoom();  // for one more, in the pack that is being written
  Status EndPack();
  Status InsertHint(const PageHash& hash, const PageLocation& location);
  Status CheckHints();

  const std::shared_ptr<StoreFiles> files_;
  const uint32_t pack_pages_;
  PackSet packs_;
  std::shared_ptr<PageIndex> index_;
  std::unique_ptr<PackWriter> pack_;                      // the one that is being written
  std::map<PackId, std::shared_ptr<const Pack>> pinned_;  // what our streams are in
  std::vector<std::unique_ptr<PackWriter>> finished_;     // of these, what we wrote
  std::vector<Node> nodes_;                               // for the end of this one
  std::set<PageHash> waiting_;                            // their hashes
  std::set<PackId> refused_;                              // being collected, or damaged
  uint64_t stored_bytes_ = 0;
  uint64_t new_pages_ = 0;

  // The stream.
  std::string batch_;
  std::deque<std::future<Hashed>> hashing_;
  TreeBuilder tree_;
  uint64_t stream_size_ = 0;
  PageHasher hasher_;  // of nodes
};

}  // namespace stasis::store
