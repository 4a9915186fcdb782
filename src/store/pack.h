// A pack: pages, many to a file, compressed in blocks of 64. Written once, then never changed.
// docs/formats/store.md has the bytes:
//
//   header | block ... block | hashes of the pages | table of the blocks | footer
//
// Every byte is covered by a hash: a block by its entry in the table, hashes and table by the footer.
// A pack is hostile input: sizes, offsets and counts are checked at Open. It is mapped into memory, so a file
// that is cut short while it is open kills the process (SIGBUS): a store is for root alone to write.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "linux/unique_fd.h"
#include "store/pack_format.h"
#include "store/page.h"
#include "store/store_files.h"

namespace stasis::store {

inline constexpr uint32_t kBlockPages = 64;       // in each block but the last
inline constexpr uint32_t kMaxPackPages = 65536;  // 256 MiB of memory

// Where a page is.
struct PageLocation {
  PackId pack = 0;
  uint32_t entry = 0;  // its number in the pack
};

// Thread-safe.
class Pack {
 public:
  // kNotFound: no such pack. kDataLoss: its header, index or footer are damaged. kUnimplemented: newer.
  static StatusOr<std::shared_ptr<const Pack>> Open(const std::string& directory, PackId id);
  // One that has not got its name yet; for its writer.
  static StatusOr<std::shared_ptr<const Pack>> OpenPartial(const std::string& directory, PackId id);
  Pack(const Pack&) = delete;
  Pack& operator=(const Pack&) = delete;
  ~Pack();

  PackId id() const { return id_; }
  uint32_t pages() const { return pages_; }
  uint32_t blocks() const { return blocks_; }
  const PageHash& hash(uint32_t entry) const { return hashes_[entry]; }
  uint64_t size() const { return size_; }  // of the file
  // Whether a verifier had found it damaged when it was opened. What can be read of it is good all the same.
  bool marked_damaged() const { return marked_damaged_; }
  // What it takes of the disk: its share of its block.
  uint64_t StoredBytes(uint32_t entry) const;

  // The pages of a block, one after the other. kDataLoss: it is not what was written.
  StatusOr<std::string> ReadBlock(uint32_t block) const;
  // The same without a copy: either in `buffer` or in the pack itself.
  StatusOr<std::string_view> ReadBlock(uint32_t block, std::string* buffer) const;

  // Keeps it from being collected for as long as this object lives. False: it is being collected, or gone.
  bool Pin() const;
  // For the collector: keeps others from using it for new checkpoints. False: somebody does.
  bool Claim() const;

 private:
  Pack(PackId id, UniqueFd file, const char* bytes, size_t size)
      : id_(id), file_(std::move(file)), bytes_(bytes), size_(size) {}
  static StatusOr<std::shared_ptr<Pack>> OpenAt(const std::string& path, PackId id);
  Status Check();

  const PackId id_;
  UniqueFd file_;
  const char* const bytes_;  // the whole file, mapped
  const size_t size_;
  uint32_t pages_ = 0;
  uint32_t blocks_ = 0;
  const PageHash* hashes_ = nullptr;
  const PackBlock* table_ = nullptr;
  bool marked_damaged_ = false;
};

}  // namespace stasis::store
