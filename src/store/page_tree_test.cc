#include "store/page_tree.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>

namespace stasis::store {
namespace {

class PageTreeTest : public testing::Test {
 protected:
  StreamId Build(const std::vector<PageHash>& pages) {
    TreeBuilder tree([&](const char* page) -> StatusOr<PageHash> {
      const PageHash hash = PageHasher().Hash(page);
      nodes_[hash].assign(page, kPageBytes);
      return hash;
    });
    for (const PageHash& page : pages) EXPECT_TRUE(tree.Add(page).ok());
    auto stream = tree.Finish(pages.size() * kPageBytes);
    EXPECT_TRUE(stream.ok()) << stream.status();
    return stream.ok() ? *stream : StreamId{};
  }

  // The same pages, those behind the first `before` by one call.
  StreamId BuildRun(const std::vector<PageHash>& pages, size_t before) {
    TreeBuilder tree([&](const char* page) -> StatusOr<PageHash> {
      ++made_;
      return PageHasher().Hash(page);
    });
    for (size_t i = 0; i < before; ++i) EXPECT_TRUE(tree.Add(pages[i]).ok());
    EXPECT_TRUE(tree.Add(pages.back(), pages.size() - before).ok());
    auto stream = tree.Finish(pages.size() * kPageBytes);
    EXPECT_TRUE(stream.ok()) << stream.status();
    return stream.ok() ? *stream : StreamId{};
  }

  StatusOr<std::vector<PageHash>> Walk(const StreamId& stream) {
    TreeWalk walk(stream, [&](const PageHash& hash, char* page) -> Status {
      ++reads_;
      if (!nodes_.contains(hash)) return DataLoss("no such node");
      std::memcpy(page, nodes_[hash].data(), kPageBytes);
      return absl::OkStatus();
    });
    std::vector<PageHash> pages;
    for (;;) {
      STASIS_ASSIGN_OR_RETURN(const std::vector<PageHash> next, walk.Next());
      if (next.empty()) return pages;
      pages.insert(pages.end(), next.begin(), next.end());
    }
  }

  std::map<PageHash, std::string> nodes_;
  uint64_t reads_ = 0;
  uint64_t made_ = 0;
};

std::vector<PageHash> Pages(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<PageHash> pages(count);
  for (PageHash& page : pages)
    for (unsigned char& byte : page) byte = static_cast<unsigned char>(random());
  return pages;
}

TEST_F(PageTreeTest, GivesBackThePagesInOrder) {
  for (const size_t count : {0, 1, 2, 15, 16, 17, 127, 128, 129, 3000, 40'000}) {
    const std::vector<PageHash> pages = Pages(count, 1);
    const auto back = Walk(Build(pages));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_TRUE(*back == pages) << count;
  }
  // Equal ones end no node before its time, or each.
  for (const int last : {0, 1}) {
    std::vector<PageHash> pages(10'000);
    for (PageHash& page : pages) {
      page = {1};
      page.back() = static_cast<unsigned char>(last);
    }
    const auto back = Walk(Build(pages));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_TRUE(*back == pages);
  }
}

TEST_F(PageTreeTest, ARunMakesTheSameTreeAsItsPages) {
  for (const int last : {0, 1}) {  // ends its nodes, or does not
    PageHash page = {1};
    page.back() = static_cast<unsigned char>(last);
    for (const size_t before : {0, 1, 15, 100, 5000}) {
      for (const size_t count : {1, 15, 16, 17, 128, 129, 3000, 40'000}) {
        std::vector<PageHash> pages = Pages(before, 2);
        pages.resize(before + count, page);
        EXPECT_EQ(Build(pages), BuildRun(pages, before)) << before << " " << count;
      }
    }
  }
  made_ = 0;
  BuildRun(std::vector<PageHash>(4'000'000), 0);
  EXPECT_LT(made_, 100);
}

TEST_F(PageTreeTest, IsTheSameTreeForTheSamePages) {
  EXPECT_EQ(Build(Pages(3000, 1)), Build(Pages(3000, 1)));
  const size_t nodes = nodes_.size();
  std::vector<PageHash> pages = Pages(3000, 1);
  pages.erase(pages.begin() + 1000);
  Build(pages);
  EXPECT_LE(nodes_.size(), nodes + 6);
}

TEST_F(PageTreeTest, ItsSizeBoundsAWalk) {
  // Each node is 128 times the one below: few nodes, and more pages than anybody can read.
  StreamId stream;
  stream.root = {1};
  for (stream.depth = 0; stream.depth < kMaxDepth; ++stream.depth) {
    std::string node;
    for (size_t i = 0; i < kMostInNode; ++i)
      node.append(reinterpret_cast<const char*>(stream.root.data()), stream.root.size());
    stream.root = PageHasher().Hash(node.data());
    nodes_[stream.root] = node;
  }
  for (const uint64_t size : {kPageBytes, 1000 * kPageBytes, kMaxStream + 1, ~uint64_t{0}}) {
    stream.size = size;
    reads_ = 0;
    EXPECT_TRUE(absl::IsDataLoss(Walk(stream).status()));
    EXPECT_LE(reads_, kMaxDepth + 10);
  }
}

}  // namespace
}  // namespace stasis::store
