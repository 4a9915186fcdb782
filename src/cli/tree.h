// Trees drawn with lines, as checkpointctl and tree(1) do.
#pragma once

#include <string>
#include <vector>

namespace stasis::cli {

struct TreeNode {
  std::string label;
  std::vector<TreeNode> children = {};
};

inline constexpr int kMaxTreeDepth = 64;

// One line a node; labels are made Printable. What lies deeper than kMaxTreeDepth is a line "...".
std::string DrawTree(const TreeNode& root);

}  // namespace stasis::cli
