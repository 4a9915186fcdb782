#include "store/writer.h"

#include <algorithm>
#include <utility>

namespace stasis::store {
namespace {

constexpr size_t kBatchBytes = 1 << 20;
constexpr size_t kBatchesAtOnce = 3;
constexpr size_t kMostPinned = 512;  // each is an open file

}  // namespace

StatusOr<std::unique_ptr<Writer>> Writer::Start(const std::string& directory) {
  STASIS_ASSIGN_OR_RETURN(std::shared_ptr<StoreFiles> files, OpenStoreFiles(directory));
  return Start(std::move(files));
}

StatusOr<std::unique_ptr<Writer>> Writer::Start(std::shared_ptr<StoreFiles> files, uint32_t pack_pages) {
  STASIS_ASSIGN_OR_RETURN(std::shared_ptr<PageIndex> index, PageIndex::Open(files->directory()));
  return std::unique_ptr<Writer>(new Writer(std::move(files), pack_pages, std::move(index)));
}

Writer::Writer(std::shared_ptr<StoreFiles> files, uint32_t pack_pages, std::shared_ptr<PageIndex> index)
    : files_(std::move(files)),
      pack_pages_(pack_pages),
      packs_(files_->directory()),
      index_(std::move(index)),
      tree_([this](const char* node) -> StatusOr<PageHash> {
        const PageHash hash = hasher_.Hash(node);
        STASIS_RETURN_IF_ERROR(AddNode(hash, node));
        return hash;
      }) {}

// ---- streams

Status Writer::Append(std::string_view bytes) {
  if (bytes.size() > kMaxStream - stream_size_) return InvalidArgument("a stream is too long for the store");
  stream_size_ += bytes.size();
  while (!bytes.empty()) {
    if (batch_.empty()) batch_.reserve(kBatchBytes);
    const std::string_view part = bytes.substr(0, kBatchBytes - batch_.size());
    batch_.append(part);
    bytes.remove_prefix(part.size());
    if (batch_.size() == kBatchBytes) {
      STASIS_RETURN_IF_ERROR(EndBatch());
    }
  }
  return absl::OkStatus();
}

Status Writer::AppendZeros(uint64_t size) {
  if (size > kMaxStream - stream_size_) return InvalidArgument("a stream is too long for the store");
  // Batches are to be large, and of whole pages.
  const uint64_t before = (kPageBytes - batch_.size() % kPageBytes) % kPageBytes;
  const bool many = size >= kBatchBytes + before;
  const uint64_t pages = many ? (size - before) / kPageBytes : 0;
  const std::string zeros(std::min<uint64_t>(size, kBatchBytes), '\0');
  STASIS_RETURN_IF_ERROR(Append(std::string_view(zeros).substr(0, many ? before : size)));
  if (!many) return absl::OkStatus();
  if (!batch_.empty()) {
    STASIS_RETURN_IF_ERROR(EndBatch());
  }
  hashing_.push_back(std::async(std::launch::deferred, [pages] { return Hashed{{}, {}, pages}; }));
  stream_size_ += pages * kPageBytes;
  return Append(std::string_view(zeros).substr(0, size - before - pages * kPageBytes));
}

Status Writer::EndBatch() {
  hashing_.push_back(std::async(std::launch::async, HashPages, std::move(batch_)));
  batch_.clear();
  return hashing_.size() > kBatchesAtOnce ? TakeBatch() : absl::OkStatus();
}

Writer::Hashed Writer::HashPages(std::string pages) {
  Hashed out;
  PageHasher hasher;
  for (size_t at = 0; at < pages.size(); at += kPageBytes) {
    const char* page = pages.data() + at;
    out.hashes.push_back(IsZeroPage(page) ? ZeroPage() : hasher.Hash(page));
  }
  out.pages = std::move(pages);
  return out;
}

Status Writer::TakeBatch() {
  const Hashed hashed = hashing_.front().get();
  hashing_.pop_front();
  for (size_t i = 0; i < hashed.hashes.size(); ++i) {
    STASIS_RETURN_IF_ERROR(AddPage(hashed.hashes[i], hashed.pages.data() + i * kPageBytes));
    STASIS_RETURN_IF_ERROR(tree_.Add(hashed.hashes[i]));
  }
  return tree_.Add(ZeroPage(), hashed.zeros);
}

StatusOr<StreamId> Writer::EndStream() {
  batch_.resize((batch_.size() + kPageBytes - 1) / kPageBytes * kPageBytes, '\0');
  if (!batch_.empty()) {
    STASIS_RETURN_IF_ERROR(EndBatch());
  }
  while (!hashing_.empty()) STASIS_RETURN_IF_ERROR(TakeBatch());
  return tree_.Finish(std::exchange(stream_size_, 0));
}

StatusOr<bool> Writer::Adopt(const StreamId& stream) {
  if (stream.pages() == 0) return true;
  if (stream.depth > kMaxDepth) return false;
  return AdoptPage(stream.root, stream.depth);
}

// A recursion of at most kMaxDepth.
StatusOr<bool> Writer::AdoptPage(const PageHash& page, uint32_t depth) {
  if (page == ZeroPage()) return depth == 0;
  const auto found = index_->Find(page, [&](const PageLocation& location) { return Has(location, page); });
  // What is being written now would have to be read from memory.
  if (!found || (pack_ && found->pack == pack_->id())) return false;
  if (depth == 0) return true;
  auto block = pinned_.at(found->pack)->ReadBlock(found->entry / kBlockPages);
  if (absl::IsDataLoss(block.status())) return false;
  if (!block.ok()) return block.status();
  const char* node = block->data() + found->entry % kBlockPages * kPageBytes;
  if (hasher_.Hash(node) != page) return false;
  for (const PageHash& child : NodeHashes(node)) {
    STASIS_ASSIGN_OR_RETURN(const bool there, AdoptPage(child, depth - 1));
    if (!there) return false;
  }
  return true;
}

// ---- pages

// A hint may name what is gone, damaged, or another page.
bool Writer::Has(const PageLocation& location, const PageHash& hash) {
  if (pack_ && location.pack == pack_->id())
    return location.entry < pack_->pages() && pack_->hash(location.entry) == hash;
  auto pinned = pinned_.find(location.pack);
  if (pinned == pinned_.end()) {
    if (refused_.contains(location.pack) || pinned_.size() >= kMostPinned) return false;
    auto pack = packs_.Get(location.pack);
    if (!pack.ok() || (*pack)->marked_damaged() || !(*pack)->Pin()) {
      refused_.insert(location.pack);
      return false;
    }
    pinned = pinned_.emplace(location.pack, *std::move(pack)).first;
  }
  const Pack& pack = *pinned->second;
  return location.entry < pack.pages() && pack.hash(location.entry) == hash;
}

bool Writer::IsThere(const PageHash& hash) {
  return index_->Find(hash, [&](const PageLocation& location) { return Has(location, hash); }).has_value();
}

Status Writer::AddPage(const PageHash& hash, const char* page) {
  if (hash == ZeroPage() || IsThere(hash)) return absl::OkStatus();
  STASIS_RETURN_IF_ERROR(MakeRoom());
  return PutPage(hash, page);
}

Status Writer::AddNode(const PageHash& hash, const char* node) {
  if (IsThere(hash) || waiting_.contains(hash)) return absl::OkStatus();
  STASIS_RETURN_IF_ERROR(MakeRoom());
  nodes_.push_back({hash, std::string(node, kPageBytes)});
  waiting_.insert(hash);
  return absl::OkStatus();
}

Status Writer::MakeRoom() {
  const size_t pages = (pack_ ? pack_->pages() : 0) + nodes_.size();
  return pages < pack_pages_ ? absl::OkStatus() : EndPack();
}

Status Writer::PutPage(const PageHash& hash, const char* page) {
  if (!pack_) {
    STASIS_ASSIGN_OR_RETURN(pack_, PackWriter::Create(files_.get()));
  }
  const PageLocation location = {pack_->id(), pack_->pages()};
  STASIS_RETURN_IF_ERROR(pack_->Add(hash, page));
  ++new_pages_;
  return InsertHint(hash, location);
}

// It gets its name with all others, at the commit: of one that has it already, the collector or another
// writer may count on pages, and it could not be taken back.
Status Writer::EndPack() {
  for (const Node& node : nodes_) STASIS_RETURN_IF_ERROR(PutPage(node.hash, node.page.data()));
  nodes_.clear();
  waiting_.clear();
  STASIS_ASSIGN_OR_RETURN(std::shared_ptr<const Pack> pack, pack_->Finish());
  stored_bytes_ += pack->size();
  pinned_.emplace(pack->id(), std::move(pack));
  finished_.push_back(std::move(pack_));
  return absl::OkStatus();
}

Status Writer::InsertHint(const PageHash& hash, const PageLocation& location) {
  while (!index_->Insert(hash, location)) {
    if (!index_->IsCurrent()) {
      STASIS_ASSIGN_OR_RETURN(index_, PageIndex::Open(files_->directory()));
      continue;
    }
    STASIS_ASSIGN_OR_RETURN(const PageIndexLock lock, PageIndexLock::Take(files_->directory()));
    if (!index_->IsCurrent()) continue;
    STASIS_ASSIGN_OR_RETURN(index_, GrowPageIndex(files_->directory(), *index_));
  }
  return absl::OkStatus();
}

// Who replaced the index while we wrote may not have seen our hints.
Status Writer::CheckHints() {
  for (;;) {
    {
      // Who is replacing it just now may have looked before our packs had their names.
      STASIS_ASSIGN_OR_RETURN(const PageIndexLock lock, PageIndexLock::Take(files_->directory()));
      if (index_->IsCurrent()) return absl::OkStatus();
    }
    STASIS_ASSIGN_OR_RETURN(index_, PageIndex::Open(files_->directory()));
    for (const std::unique_ptr<PackWriter>& own : finished_) {
      const Pack& pack = *pinned_.at(own->id());
      for (uint32_t entry = 0; entry < pack.pages(); ++entry) {
        const auto same = [&](const PageLocation& location) {
          return location.pack == pack.id() && location.entry == entry;
        };
        if (index_->Find(pack.hash(entry), same)) continue;
        STASIS_RETURN_IF_ERROR(InsertHint(pack.hash(entry), {pack.id(), entry}));
      }
    }
  }
}

Status Writer::Commit() {
  if (pack_ || !nodes_.empty()) {
    STASIS_RETURN_IF_ERROR(EndPack());
  }
  for (const std::unique_ptr<PackWriter>& own : finished_) STASIS_RETURN_IF_ERROR(own->Publish());
  // Also where nothing of ours is new: the names of what we use may be another's, who has not synced yet.
  STASIS_RETURN_IF_ERROR(files_->SyncPacks());
  return CheckHints();
}

}  // namespace stasis::store
