#include "store/live_pages.h"

namespace stasis::store {

// A recursion of at most kMaxDepth.
Status LivePages::AddNode(const PageHash& node, uint32_t depth, const std::stop_token& cancel) {
  if (node == ZeroPage()) return depth == 0 ? absl::OkStatus() : DataLoss("a node of a stream is empty");
  STASIS_RETURN_IF_ERROR(finder_->Find(node, &place_));
  const uint32_t entry = place_.entry;
  OfPack& pack = packs_[place_.pack->id()];
  if (pack.live.empty()) pack.live.resize(place_.pack->pages());
  if (!pack.live[entry]) {
    pack.live[entry] = true;
    ++pack.count;
  }
  if (depth == 0) return absl::OkStatus();
  std::vector<bool>& walked = pack.walked[depth];
  if (walked.empty()) walked.resize(place_.pack->pages());
  if (walked[entry]) return absl::OkStatus();
  walked[entry] = true;
  if (cancel.stop_requested()) return Cancelled("the walk through the store was cancelled");
  char page[kPageBytes];
  STASIS_RETURN_IF_ERROR(reader_.Read(node, page));
  for (const PageHash& child : NodeHashes(page)) STASIS_RETURN_IF_ERROR(AddNode(child, depth - 1, cancel));
  return absl::OkStatus();
}

Status LivePages::Add(const StreamId& stream, const std::stop_token& cancel) {
  if (stream.pages() == 0) return absl::OkStatus();
  if (stream.depth > kMaxDepth) return DataLoss("the tree of a stream is too deep");
  return AddNode(stream.root, stream.depth, cancel);
}

uint32_t LivePages::CountIn(PackId pack) const {
  const auto found = packs_.find(pack);
  return found == packs_.end() ? 0 : found->second.count;
}

bool LivePages::Contains(const PageLocation& location) const {
  const auto found = packs_.find(location.pack);
  return found != packs_.end() && location.entry < found->second.live.size() &&
         found->second.live[location.entry];
}

void LivePages::ForEach(const std::function<void(const PageLocation&)>& use) const {
  for (const auto& [id, pack] : packs_) {
    for (uint32_t entry = 0; entry < pack.live.size(); ++entry) {
      if (pack.live[entry]) use({id, entry});
    }
  }
}

}  // namespace stasis::store
