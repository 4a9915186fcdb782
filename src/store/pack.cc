#include "store/pack.h"

#include <fcntl.h>
#include <lz4.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "linux/files.h"

namespace stasis::store {
namespace {

uint32_t BlocksOf(uint32_t pages) { return (pages + kBlockPages - 1) / kBlockPages; }

// False: it is damaged, or of a codec that nobody knows, or has another size than that of `to`.
bool Decompress(uint32_t codec, std::string_view stored, std::string* to) {
  switch (codec) {
    case PackBlock::kZstd:
      return ::ZSTD_decompress(to->data(), to->size(), stored.data(), stored.size()) == to->size();
    case PackBlock::kLz4: {
      const auto size = static_cast<int>(to->size());  // a block's at most
      return stored.size() <= to->size() &&
             ::LZ4_decompress_safe(stored.data(), to->data(), static_cast<int>(stored.size()), size) == size;
    }
    default:
      return false;
  }
}

}  // namespace

StatusOr<std::shared_ptr<const Pack>> Pack::Open(const std::string& directory, PackId id) {
  STASIS_ASSIGN_OR_RETURN(std::shared_ptr<Pack> pack, OpenAt(PacksPath(directory) + "/" + PackName(id), id));
  pack->marked_damaged_ = Exists(PacksPath(directory) + "/" + DamageMarkName(id));
  return pack;
}

StatusOr<std::shared_ptr<const Pack>> Pack::OpenPartial(const std::string& directory, PackId id) {
  return OpenAt(PacksPath(directory) + "/" + PartialPackName(id), id);
}

StatusOr<std::shared_ptr<Pack>> Pack::OpenAt(const std::string& path, PackId id) {
  STASIS_ASSIGN_OR_RETURN(UniqueFd file, OpenFile(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  struct stat info;
  if (::fstat(file.get(), &info) != 0) return ErrnoError(errno, "fstat " + path);
  if (!S_ISREG(info.st_mode)) return DataLoss(path + ": not a regular file");
  const auto size = static_cast<size_t>(info.st_size);
  if (size < sizeof(PackHeader) + sizeof(PackFooter)) return DataLoss(path + ": cut short");
  void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
  if (mapped == MAP_FAILED) return ErrnoError(errno, "mmap " + path);
  std::shared_ptr<Pack> pack(new Pack(id, std::move(file), static_cast<const char*>(mapped), size));
  STASIS_RETURN_IF_ERROR(Annotate(pack->Check(), path));
  return pack;
}

Pack::~Pack() { ::munmap(const_cast<char*>(bytes_), size_); }

Status Pack::Check() {
  PackHeader header;
  std::memcpy(&header, bytes_, sizeof header);
  PackFooter footer;
  std::memcpy(&footer, bytes_ + size_ - sizeof footer, sizeof footer);
  if (std::memcmp(header.magic, kPackMagic, sizeof kPackMagic) != 0 ||
      std::memcmp(footer.magic, kPackMagic, sizeof kPackMagic) != 0)
    return DataLoss("not a pack, or cut short");
  if (header.version > kPackVersion) return Unimplemented("made by a newer Stasis");
  pages_ = footer.pages;
  blocks_ = footer.blocks;
  const uint64_t index_size = uint64_t{pages_} * sizeof(PageHash) + uint64_t{blocks_} * sizeof(PackBlock);
  if (header.version < kOldestPackVersion || header.id != id_ || pages_ > kMaxPackPages ||
      blocks_ != BlocksOf(pages_) || index_size > size_ ||
      footer.index_offset != size_ - sizeof footer - index_size || footer.index_offset % 8 != 0)
    return DataLoss("its footer is damaged");
  const char* index = bytes_ + footer.index_offset;
  Sha256 sha256;
  sha256.Update({index, index_size});
  sha256.Update({bytes_ + size_ - sizeof footer, offsetof(PackFooter, index_hash)});
  sha256.Update({bytes_, sizeof header});
  if (sha256.FinishBytes() != footer.index_hash) return DataLoss("its index is damaged");
  hashes_ = reinterpret_cast<const PageHash*>(index);
  table_ = reinterpret_cast<const PackBlock*>(index + uint64_t{pages_} * sizeof(PageHash));
  // One behind the other, so that each byte of the file belongs to something that is hashed.
  uint64_t expected = sizeof header;
  for (uint32_t i = 0; i < blocks_; ++i) {
    if (table_[i].offset != expected || table_[i].size > footer.index_offset - expected)
      return DataLoss("its table of blocks is damaged");
    expected += table_[i].size;
  }
  if (footer.index_offset - expected >= 8) return DataLoss("its table of blocks is damaged");
  for (; expected < footer.index_offset; ++expected) {
    if (bytes_[expected] != 0) return DataLoss("its padding is damaged");
  }
  return absl::OkStatus();
}

StatusOr<std::string_view> Pack::ReadBlock(uint32_t number, std::string* buffer) const {
  const auto damaged = [&] {
    return DataLoss("block " + std::to_string(number) + " of " + PackName(id_) + " is damaged");
  };
  if (number >= blocks_) return damaged();
  const PackBlock& block = table_[number];
  const std::string_view stored(bytes_ + block.offset, block.size);
  if (HashBlock(stored) != block.hash) return damaged();
  const size_t size = std::min(kBlockPages, pages_ - number * kBlockPages) * kPageBytes;
  if (block.codec == PackBlock::kRaw)
    return stored.size() == size ? StatusOr<std::string_view>(stored) : damaged();
  buffer->resize(size);
  if (!Decompress(block.codec, stored, buffer)) return damaged();
  return std::string_view(*buffer);
}

StatusOr<std::string> Pack::ReadBlock(uint32_t number) const {
  std::string buffer;
  STASIS_ASSIGN_OR_RETURN(const std::string_view pages, ReadBlock(number, &buffer));
  return std::string(pages);
}

uint64_t Pack::StoredBytes(uint32_t entry) const {
  const uint32_t number = entry / kBlockPages;
  return table_[number].size / std::min(kBlockPages, pages_ - number * kBlockPages);
}

bool Pack::Pin() const {
  if (::flock(file_.get(), LOCK_SH | LOCK_NB) != 0) return false;
  // Its collector had it, and is done.
  struct stat info;
  return ::fstat(file_.get(), &info) == 0 && info.st_nlink > 0;
}

bool Pack::Claim() const { return ::flock(file_.get(), LOCK_EX | LOCK_NB) == 0; }

}  // namespace stasis::store
