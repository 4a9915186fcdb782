// Writes one pack (pack.h). Blocks are compressed beside the caller; a few at most are in memory.
#pragma once

#include <deque>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "store/pack.h"
#include "store/pack_format.h"
#include "store/page.h"
#include "store/store_files.h"

namespace stasis::store {

// One thread. What is not published is removed at the end of its life.
class PackWriter {
 public:
  // `files` outlives it.
  static StatusOr<std::unique_ptr<PackWriter>> Create(StoreFiles* files);
  ~PackWriter();
  PackWriter(const PackWriter&) = delete;
  PackWriter& operator=(const PackWriter&) = delete;

  PackId id() const { return id_; }
  uint32_t pages() const { return static_cast<uint32_t>(hashes_.size()); }
  const PageHash& hash(uint32_t entry) const { return hashes_[entry]; }
  uint64_t bytes() const { return offset_; }  // written so far

  // kMaxPackPages times at most. Its entry is what pages() was before.
  Status Add(const PageHash& hash, const char* page);
  // Completes the file, makes it durable, and returns it pinned. Many finished ones may wait for the commit
  // of their writer, so all that is left in memory is the name.
  StatusOr<std::shared_ptr<const Pack>> Finish();
  // After Finish: gives it its name, durable once StoreFiles::SyncPacks has returned.
  Status Publish();

 private:
  struct Compressed {
    std::string bytes;
    PackBlock block;
  };
  static Compressed Compress(const std::string& pages);

  PackWriter(StoreFiles* files, PackId id, std::unique_ptr<NewPackFile> file)
      : files_(files), id_(id), file_(std::move(file)) {}
  Status Write(std::string_view bytes);
  void EndBlock();
  Status WriteBlock();  // the oldest

  StoreFiles* const files_;
  const PackId id_;
  std::unique_ptr<NewPackFile> file_;
  uint64_t offset_ = 0;
  std::string pages_;  // of the block that is being filled
  std::deque<std::future<Compressed>> compressing_;
  std::vector<PageHash> hashes_;
  std::vector<PackBlock> table_;
  bool published_ = false;
};

}  // namespace stasis::store
