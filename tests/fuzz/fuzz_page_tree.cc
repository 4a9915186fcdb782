// A tree of pages may come from elsewhere: whatever its nodes say, its walk ends and gives the pages of its
// size or an error. What TreeBuilder makes comes back as it was.
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#include "store/page_tree.h"

namespace {

using stasis::store::kPageBytes;
using stasis::store::PageHash;
using stasis::store::StreamId;
using stasis::store::TreeWalk;

void WalkHostile(const uint8_t* data, size_t size) {
  StreamId stream;
  if (size < 16) return;
  std::memcpy(&stream.size, data, 8);
  // Few pages, so that the walk may end; or as it came.
  if (data[8] % 4 != 0) stream.size %= 1 << 20;
  stream.depth = data[9] % 16;
  stream.root = {data[10]};
  data += 16;
  size -= 16;
  // The first byte of a hash says which part of the input is its page.
  TreeWalk walk(stream, [&](const PageHash& hash, char* page) {
    std::memset(page, 0, kPageBytes);
    const size_t at = hash[0] * size_t{64};
    if (at >= size) return stasis::DataLoss("no such page");
    std::memcpy(page, data + at, std::min(size - at, kPageBytes));
    return absl::OkStatus();
  });
  uint64_t pages = 0;
  for (int n = 0; n < 300; ++n) {
    const auto hashes = walk.Next();
    if (!hashes.ok()) return;
    pages += hashes->size();
    if (pages > stream.pages()) std::abort();
    if (!hashes->empty()) continue;
    if (pages != stream.pages()) std::abort();
    return;
  }
}

void BuildAndWalk(const uint8_t* data, size_t size) {
  std::map<PageHash, std::vector<char>> nodes;
  stasis::store::PageHasher hasher;
  stasis::store::TreeBuilder tree([&](const char* page) -> stasis::StatusOr<PageHash> {
    const PageHash hash = hasher.Hash(page);
    nodes[hash].assign(page, page + kPageBytes);
    return hash;
  });
  std::vector<PageHash> pages;
  for (size_t i = 0; i < size; ++i) {
    PageHash page = {1};
    page.back() = data[i];
    pages.insert(pages.end(), data[i] % 8 == 7 ? 40 : 1, page);
  }
  for (const PageHash& page : pages)
    if (!tree.Add(page).ok()) std::abort();
  const auto stream = tree.Finish(pages.size() * kPageBytes);
  if (!stream.ok()) std::abort();
  TreeWalk walk(*stream, [&](const PageHash& hash, char* page) {
    if (!nodes.contains(hash)) std::abort();
    std::memcpy(page, nodes[hash].data(), kPageBytes);
    return absl::OkStatus();
  });
  std::vector<PageHash> back;
  for (;;) {
    const auto hashes = walk.Next();
    if (!hashes.ok()) std::abort();
    if (hashes->empty()) break;
    back.insert(back.end(), hashes->begin(), hashes->end());
  }
  if (back != pages) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  (data[0] % 4 == 0 ? BuildAndWalk : WalkHostile)(data + 1, size - 1);
  return 0;
}
