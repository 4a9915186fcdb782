#include "cli/tree.h"

#include "cli/table.h"

namespace stasis::cli {
namespace {

void DrawChildren(const TreeNode& node, const std::string& indent, int depth, std::string& text) {
  for (size_t i = 0; i < node.children.size(); ++i) {
    const bool last = i + 1 == node.children.size();
    text += indent + (last ? "└── " : "├── ");
    if (depth == kMaxTreeDepth) {
      text += "...\n";
      return;
    }
    text += Shown(node.children[i].label) + "\n";
    DrawChildren(node.children[i], indent + (last ? "    " : "│   "), depth + 1, text);
  }
}

}  // namespace

std::string DrawTree(const TreeNode& root) {
  std::string text = Shown(root.label) + "\n";
  DrawChildren(root, "", 1, text);
  return text;
}

}  // namespace stasis::cli
