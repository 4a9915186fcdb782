// Which pages of a store streams need.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <stop_token>
#include <vector>

#include "base/status.h"
#include "store/page_reader.h"
#include "store/page_tree.h"

namespace stasis::store {

// One thread.
class LivePages {
 public:
  explicit LivePages(PageFinder* finder) : finder_(finder), reader_(finder) {}

  // The nodes and pages of `stream` are needed. kDataLoss: it cannot be walked, or lacks a page. kCancelled.
  Status Add(const StreamId& stream, const std::stop_token& cancel);

  uint32_t CountIn(PackId pack) const;
  bool Contains(const PageLocation& location) const;
  void ForEach(const std::function<void(const PageLocation&)>& use) const;

 private:
  struct OfPack {
    std::vector<bool> live;
    uint32_t count = 0;
    // By depth: the same page may be a node of one stream and the memory of a program in another, and what is
    // below it is needed for the one and not for the other.
    std::map<uint32_t, std::vector<bool>> walked;
  };
  Status AddNode(const PageHash& node, uint32_t depth, const std::stop_token& cancel);

  PageFinder* const finder_;
  PageReader reader_;
  PageFinder::Place place_;
  std::map<PackId, OfPack> packs_;
};

}  // namespace stasis::store
