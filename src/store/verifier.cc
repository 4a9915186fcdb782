#include "store/verifier.h"

#include <algorithm>

#include "store/pack.h"

namespace stasis::store {
namespace {

std::string BlockText(PackId pack, uint32_t block) {
  return "packs/" + PackName(pack) + ": block " + std::to_string(block) + " is damaged";
}

}  // namespace

StatusOr<std::unique_ptr<Verifier>> Verifier::Open(const std::string& directory) {
  STASIS_ASSIGN_OR_RETURN(std::shared_ptr<StoreFiles> files, OpenStoreFiles(directory));
  return Open(std::move(files));
}

StatusOr<std::unique_ptr<Verifier>> Verifier::Open(std::shared_ptr<StoreFiles> files) {
  STASIS_ASSIGN_OR_RETURN(std::unique_ptr<PageFinder> finder, PageFinder::Open(files->directory()));
  return std::unique_ptr<Verifier>(new Verifier(std::move(files), std::move(finder)));
}

bool Verifier::CheckBlock(const Pack& pack, uint32_t block) {
  const auto pages = pack.ReadBlock(block);
  bool good = pages.ok();
  PageHasher hasher;
  const uint32_t first = block * kBlockPages;
  const uint32_t count = std::min(kBlockPages, pack.pages() - first);
  for (uint32_t i = 0; good && i < count; ++i)
    good = hasher.Hash(pages->data() + i * kPageBytes) == pack.hash(first + i);
  if (good) return true;
  damaged_blocks_.emplace(pack.id(), block);
  damage_.push_back(BlockText(pack.id(), block));
  return false;
}

void Verifier::Mark(const Pack& pack, bool damaged) {
  if (pack.marked_damaged() == damaged) return;
  const Status status = files_->MarkDamaged(pack.id(), damaged);
  if (status.ok()) return;
  damage_.push_back("packs/" + PackName(pack.id()) + ": that it is " + (damaged ? "damaged" : "whole again") +
                    " cannot be noted: " + Message(status));
}

Status Verifier::ReadPacks(const std::function<void(uint64_t)>& on_bytes, const std::stop_token& cancel) {
  STASIS_ASSIGN_OR_RETURN(const std::vector<PackId> ids, ListPacks(files_->directory()));
  for (const PackId id : ids) {
    const auto pack = Pack::Open(files_->directory(), id);
    if (absl::IsNotFound(pack.status())) continue;  // collected meanwhile
    if (!pack.ok()) {
      damage_.push_back("packs/" + PackName(id) + ": " + Message(pack.status()));
      continue;
    }
    bool damaged = false;
    for (uint32_t block = 0; block < (*pack)->blocks(); ++block) {
      if (cancel.stop_requested()) return Cancelled("the verification was cancelled");
      damaged = !CheckBlock(**pack, block) || damaged;
      if (on_bytes) on_bytes((*pack)->size() / (*pack)->blocks());
    }
    Mark(**pack, damaged);
    bytes_ += (*pack)->size();
  }
  return absl::OkStatus();
}

Status Verifier::CheckStream(const StreamId& stream, const std::stop_token& cancel) {
  TreeWalk walk(stream, [&](const PageHash& hash, char* page) { return reader_.Read(hash, page); });
  for (;;) {
    if (cancel.stop_requested()) return Cancelled("the verification was cancelled");
    STASIS_ASSIGN_OR_RETURN(const std::vector<PageHash> hashes, walk.Next());
    if (hashes.empty()) return absl::OkStatus();
    for (const PageHash& hash : hashes) {
      if (hash == ZeroPage()) continue;
      STASIS_RETURN_IF_ERROR(finder_->Find(hash, &place_));
      const uint32_t block = place_.entry / kBlockPages;
      if (damaged_blocks_.contains({place_.pack->id(), block}))
        return DataLoss(BlockText(place_.pack->id(), block));
    }
  }
}

}  // namespace stasis::store
