#include "cli/table.h"

#include <gtest/gtest.h>

namespace stasis::cli {
namespace {

TEST(TableTest, ColumnsAreAligned) {
  Table table({"CONTAINER ID", "NAMES"});
  table.AddRow({"0123", "web"});
  table.AddRow({"0123456789abcdef", "\xc3\xa9"});
  EXPECT_EQ(table.Text(),
            "CONTAINER ID       NAMES\n"
            "0123               web\n"
            "0123456789abcdef   \xc3\xa9\n");
}

TEST(TableTest, EscapeSequencesDoNotReachTheTerminal) {
  Table table({"A"});
  table.AddRow({"\x1b[2J\n"});
  EXPECT_EQ(table.Text(), "A\n\\x1b[2J\\x0a\n");
}

}  // namespace
}  // namespace stasis::cli
