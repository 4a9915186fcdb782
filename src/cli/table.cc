#include "cli/table.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace stasis::cli {
namespace {

constexpr size_t kGap = 3;
constexpr size_t kMinimumWidth = 8;  // Docker's, of a column that has a follower, its gap included

// Characters, counting one for each UTF-8 sequence.
size_t Width(std::string_view text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

}  // namespace

std::string Shown(std::string_view text) { return Printable(text, text.npos); }

void Table::AddRow(std::vector<std::string> cells) {
  for (std::string& cell : cells) cell = Shown(cell);
  rows_.push_back(std::move(cells));
}

std::string Table::Text() const {
  std::vector<size_t> widths(rows_.front().size(), kMinimumWidth);
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Width(row[i]) + kGap);
  }
  std::string text;
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      text += row[i];
      if (i + 1 < row.size()) text.append(widths[i] - Width(row[i]), ' ');
    }
    text += '\n';
  }
  return text;
}

}  // namespace stasis::cli
