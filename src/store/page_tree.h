// A stream of bytes as a tree of hashes (docs/formats/store.md): its pages in order, their hashes gathered
// into nodes, which are pages themselves, and so on up to one root. The last page is filled up with zeros.
//
// Where a node ends is decided by the hashes in it, not by their number: after an insertion or a deletion
// only the nodes around it are new, and two streams share all that they have in common.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "store/page.h"

namespace stasis::store {

inline constexpr size_t kMostInNode = kPageBytes / sizeof(PageHash);
inline constexpr uint32_t kMaxDepth = 12;
inline constexpr uint64_t kMaxStream = 1ull << 42;  // bytes

// The hashes in a node, up to its end.
std::vector<PageHash> NodeHashes(const char* page);

// Names a stream, and with it each of its bytes. One from elsewhere may name no tree at all: its walk says
// so.
struct StreamId {
  uint64_t size = 0;   // bytes
  uint32_t depth = 0;  // 0: `root` is the only page; else a node of nodes of depth - 1
  PageHash root = ZeroPage();

  uint64_t pages() const { return size / kPageBytes + (size % kPageBytes != 0 ? 1 : 0); }
  friend bool operator==(const StreamId&, const StreamId&) = default;
};

// From the hashes of the pages to the root.
class TreeBuilder {
 public:
  // Called with each node; keeps it, and returns its hash.
  using KeepNode = std::function<StatusOr<PageHash>(const char* page)>;
  explicit TreeBuilder(KeepNode keep) : keep_(std::move(keep)) {}

  Status Add(const PageHash& page) { return AddAt(0, page); }
  // So many times. Costs the less the more of them there are: whole nodes of the same are made once.
  Status Add(const PageHash& page, uint64_t times) { return AddRun(0, page, times); }
  // Then it begins anew. Of nothing: the tree of the empty stream.
  StatusOr<StreamId> Finish(uint64_t size);

 private:
  Status AddAt(size_t level, const PageHash& hash);
  Status AddRun(size_t level, const PageHash& hash, uint64_t times);
  Status EndNode(size_t level);
  StatusOr<PageHash> Keep(const std::vector<PageHash>& hashes) const;

  KeepNode keep_;
  std::vector<std::vector<PageHash>> levels_;  // what no node has yet
};

// From the root to the hashes of the pages, in order.
class TreeWalk {
 public:
  using ReadPage = std::function<Status(const PageHash& hash, char* page)>;
  TreeWalk(const StreamId& stream, ReadPage read);

  // The next few, at most kMostInNode; none at the end. kDataLoss: no such tree. Once it has failed, it is
  // not asked again.
  StatusOr<std::vector<PageHash>> Next();

 private:
  struct Level {
    std::vector<PageHash> hashes;
    size_t next = 0;
  };
  StatusOr<std::vector<PageHash>> ReadNode(const PageHash& node) const;

  const StreamId stream_;
  const ReadPage read_;
  std::vector<Level> path_;  // from the root's node down to the one above the leaves
  uint64_t walked_ = 0;      // pages
  bool started_ = false;
};

}  // namespace stasis::store
