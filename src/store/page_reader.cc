#include "store/page_reader.h"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace stasis::store {
namespace {

constexpr size_t kBlocksKept = 8;  // 2 MiB

}  // namespace

StatusOr<std::unique_ptr<PageFinder>> PageFinder::Open(const std::string& directory) {
  STASIS_ASSIGN_OR_RETURN(std::shared_ptr<StoreFiles> files, OpenStoreFiles(directory));
  STASIS_ASSIGN_OR_RETURN(std::shared_ptr<PageIndex> index, PageIndex::Open(directory));
  return std::unique_ptr<PageFinder>(new PageFinder(std::move(files), std::move(index)));
}

std::shared_ptr<PageIndex> PageFinder::index() {
  std::lock_guard lock(mutex_);
  return index_;
}

Status PageFinder::Renew(const std::shared_ptr<PageIndex>& old) {
  std::lock_guard lock(mutex_);
  if (index_ != old) return absl::OkStatus();
  if (!index_->IsCurrent()) {
    STASIS_ASSIGN_OR_RETURN(index_, PageIndex::Open(files_->directory()));
    return absl::OkStatus();
  }
  if (rebuilt_) return absl::OkStatus();
  rebuilt_ = true;
  STASIS_ASSIGN_OR_RETURN(const PageIndexLock lock_of_file, PageIndexLock::Take(files_->directory()));
  STASIS_ASSIGN_OR_RETURN(index_, RebuildPageIndex(files_->directory()));
  return absl::OkStatus();
}

Status PageFinder::Find(const PageHash& hash, Place* place) {
  const uint32_t next = place->entry + 1;
  if (place->pack && !place->pack->marked_damaged() && next < place->pack->pages() &&
      place->pack->hash(next) == hash) {
    place->entry = next;
    return absl::OkStatus();
  }
  Status damage;
  // In a damaged pack it is looked for last: it may have been stored again since.
  for (const bool may_be_damaged : {false, true}) {
    // Twice anew: another may have replaced the index, and what it was replaced by may lack something.
    for (int attempt = 0; attempt < 3; ++attempt) {
      const std::shared_ptr<PageIndex> index = this->index();
      if (FindIn(*index, hash, may_be_damaged, place, &damage)) return absl::OkStatus();
      STASIS_RETURN_IF_ERROR(Renew(index));
    }
  }
  return DataLoss("the store lacks page " + ToHex(hash) + (damage.ok() ? "" : "; " + Message(damage)));
}

bool PageFinder::FindIn(const PageIndex& index, const PageHash& hash, bool may_be_damaged, Place* place,
                        Status* damage) {
  const auto is_there = [&](const PageLocation& location) {
    auto pack = packs_.Get(location.pack);
    if (absl::IsDataLoss(pack.status())) *damage = pack.status();
    if (!pack.ok() || location.entry >= (*pack)->pages() || (*pack)->hash(location.entry) != hash ||
        ((*pack)->marked_damaged() && !may_be_damaged))
      return false;
    *place = {*std::move(pack), location.entry};
    return true;
  };
  return index.Find(hash, is_there).has_value();
}

StatusOr<const PageReader::Block*> PageReader::GetBlock(const PageFinder::Place& place) {
  const uint32_t number = place.entry / kBlockPages;
  auto found = std::find_if(blocks_.begin(), blocks_.end(), [&](const Block& block) {
    return block.number == number && block.pack == place.pack;
  });
  if (found == blocks_.end()) {
    // The one that was not used for longest gives its buffer.
    if (blocks_.size() < kBlocksKept) {
      blocks_.emplace_front();
    } else {
      blocks_.splice(blocks_.begin(), blocks_, std::prev(blocks_.end()));
    }
    Block& block = blocks_.front();
    block.pack = nullptr;
    STASIS_ASSIGN_OR_RETURN(block.pages, place.pack->ReadBlock(number, &block.buffer));
    block.pack = place.pack;
    block.number = number;
  } else {
    blocks_.splice(blocks_.begin(), blocks_, found);
  }
  return &blocks_.front();
}

Status PageReader::Read(const PageHash& hash, char* page) {
  if (hash == ZeroPage()) {
    std::memset(page, 0, kPageBytes);
    return absl::OkStatus();
  }
  STASIS_RETURN_IF_ERROR(finder_->Find(hash, &place_));
  STASIS_ASSIGN_OR_RETURN(const Block* block, GetBlock(place_));
  std::memcpy(page, block->pages.data() + place_.entry % kBlockPages * kPageBytes, kPageBytes);
  if (hasher_.Hash(page) == hash) return absl::OkStatus();
  return DataLoss("page " + ToHex(hash) + " in " + PackName(place_.pack->id()) + " is damaged");
}

StatusOr<std::string_view> PageReader::ReadRun(std::span<const PageHash> hashes) {
  STASIS_RETURN_IF_ERROR(finder_->Find(hashes.front(), &place_));
  const uint32_t first = place_.entry;
  const uint32_t end = std::min(place_.pack->pages(), (first / kBlockPages + 1) * kBlockPages);
  while (place_.entry - first + 1 < hashes.size() && place_.entry + 1 < end &&
         place_.pack->hash(place_.entry + 1) == hashes[place_.entry - first + 1])
    ++place_.entry;
  STASIS_ASSIGN_OR_RETURN(const Block* block, GetBlock(place_));
  return block->pages.substr(first % kBlockPages * kPageBytes, (place_.entry - first + 1) * kPageBytes);
}

}  // namespace stasis::store
