// Tables as docker prints them: columns as wide as their widest cell, three blanks between.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace stasis::cli {

// A text of the daemon's or of a container's made fit for a terminal, whatever its length.
std::string Shown(std::string_view text);

class Table {
 public:
  explicit Table(std::vector<std::string> header) { AddRow(std::move(header)); }
  // Cells are Shown. As many as the header has.
  void AddRow(std::vector<std::string> cells);
  // All rows, each with its newline.
  std::string Text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace stasis::cli
