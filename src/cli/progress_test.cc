#include "cli/progress.h"

#include <gtest/gtest.h>

namespace stasis::cli {
namespace {

TEST(ProgressTest, MessagesAreShownAndErrorsReturned) {
  ProgressReader reader;
  std::string shown;
  auto show = [&](const std::string& text) { shown += text; };
  EXPECT_TRUE(reader.Feed("{\"status\":\"sha256:a", show).ok());
  EXPECT_EQ(shown, "");
  EXPECT_TRUE(reader.Feed("bc\"}\r\n{\"stream\":\"Loaded image: x\\n\"}\nrubbish\n", show).ok());
  EXPECT_EQ(shown, "sha256:abc\nLoaded image: x\n");
  EXPECT_TRUE(reader.Feed("{\"error\":\"disk full\"}", show).ok());
  EXPECT_EQ(reader.Finish(show), Internal("disk full"));
}

}  // namespace
}  // namespace stasis::cli
