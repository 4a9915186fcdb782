#include "store/page_tree.h"

#include <cstring>
#include <utility>

namespace stasis::store {
namespace {

constexpr size_t kLeastInNode = 16;
constexpr unsigned char kEndMask = 63;  // one hash of 64 ends its node

bool MayEndNode(const PageHash& hash) { return (hash.back() & kEndMask) == 0; }

bool EndsNode(const std::vector<PageHash>& hashes) {
  if (hashes.size() < kLeastInNode) return false;
  return hashes.size() == kMostInNode || MayEndNode(hashes.back());
}

}  // namespace

std::vector<PageHash> NodeHashes(const char* page) {
  std::vector<PageHash> hashes(kMostInNode);
  std::memcpy(hashes.data(), page, kPageBytes);
  while (!hashes.empty() && hashes.back() == PageHash{}) hashes.pop_back();
  return hashes;
}

Status TreeBuilder::AddAt(size_t level, const PageHash& hash) {
  if (levels_.size() == level) levels_.emplace_back();
  levels_[level].push_back(hash);
  return EndsNode(levels_[level]) ? EndNode(level) : absl::OkStatus();
}

// A recursion of at most kMaxDepth.
Status TreeBuilder::AddRun(size_t level, const PageHash& hash, uint64_t times) {
  const uint64_t in_node = MayEndNode(hash) ? kLeastInNode : kMostInNode;
  while (times != 0) {
    const bool at_begin = levels_.size() <= level || levels_[level].empty();
    if (!at_begin || times < in_node) {
      STASIS_RETURN_IF_ERROR(AddAt(level, hash));
      --times;
      continue;
    }
    STASIS_ASSIGN_OR_RETURN(const PageHash node, Keep(std::vector<PageHash>(in_node, hash)));
    if (levels_.size() == level) levels_.emplace_back();
    STASIS_RETURN_IF_ERROR(AddRun(level + 1, node, times / in_node));
    times %= in_node;
  }
  return absl::OkStatus();
}

Status TreeBuilder::EndNode(size_t level) {
  STASIS_ASSIGN_OR_RETURN(const PageHash node, Keep(levels_[level]));
  levels_[level].clear();
  return AddAt(level + 1, node);
}

StatusOr<PageHash> TreeBuilder::Keep(const std::vector<PageHash>& hashes) const {
  char page[kPageBytes] = {};
  std::memcpy(page, hashes.data(), hashes.size() * sizeof(PageHash));
  return keep_(page);
}

StatusOr<StreamId> TreeBuilder::Finish(uint64_t size) {
  StreamId stream;
  stream.size = size;
  for (size_t level = 0; level < levels_.size(); ++level) {
    const bool top = level + 1 == levels_.size();
    if (top && levels_[level].size() == 1) {
      stream.depth = static_cast<uint32_t>(level);
      stream.root = levels_[level].front();
      break;
    }
    if (levels_[level].empty()) continue;
    STASIS_RETURN_IF_ERROR(EndNode(level));
  }
  levels_.clear();
  return stream;
}

TreeWalk::TreeWalk(const StreamId& stream, ReadPage read) : stream_(stream), read_(std::move(read)) {}

StatusOr<std::vector<PageHash>> TreeWalk::ReadNode(const PageHash& node) const {
  char page[kPageBytes];
  STASIS_RETURN_IF_ERROR(read_(node, page));
  std::vector<PageHash> hashes = NodeHashes(page);
  if (hashes.empty()) return DataLoss("a node of a stream is empty");
  return hashes;
}

StatusOr<std::vector<PageHash>> TreeWalk::Next() {
  const auto no_tree = [] { return DataLoss("the tree of a stream does not have the pages of its size"); };
  std::vector<PageHash> found;
  if (stream_.pages() == 0) return found;
  if (!started_) {
    started_ = true;
    // A tree of few pages can name very many: its size bounds the walk.
    if (stream_.depth > kMaxDepth || stream_.size > kMaxStream) return no_tree();
    path_.push_back({{stream_.root}, 0});
  }
  while (!path_.empty()) {
    Level& level = path_.back();
    if (level.next == level.hashes.size()) {
      path_.pop_back();
      continue;
    }
    if (path_.size() == stream_.depth + 1) {  // the leaves
      found = std::move(level.hashes);
      path_.pop_back();
      walked_ += found.size();
      return walked_ <= stream_.pages() ? StatusOr<std::vector<PageHash>>(std::move(found)) : no_tree();
    }
    STASIS_ASSIGN_OR_RETURN(std::vector<PageHash> hashes, ReadNode(level.hashes[level.next++]));
    path_.push_back({std::move(hashes), 0});
  }
  if (walked_ != stream_.pages()) return no_tree();
  return found;
}

}  // namespace stasis::store
