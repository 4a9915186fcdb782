#include "linux/unique_fd.h"

#include <fcntl.h>

#include "gtest/gtest.h"

namespace stasis {
namespace {

bool IsOpen(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }
UniqueFd OpenNull() { return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

TEST(UniqueFdTest, ClosesAtTheEndOfItsLife) {
  int number = -1;
  {
    UniqueFd fd = OpenNull();
    ASSERT_TRUE(fd.valid());
    number = fd.get();
    EXPECT_TRUE(IsOpen(number));
  }
  EXPECT_FALSE(IsOpen(number));
}

TEST(UniqueFdTest, MovingLeavesTheSourceEmpty) {
  UniqueFd first = OpenNull();
  int number = first.get();
  UniqueFd second = std::move(first);
  EXPECT_EQ(second.get(), number);
  EXPECT_FALSE(first.valid());  // NOLINT(bugprone-use-after-move,clang-analyzer-cplusplus.Move): promised
}

TEST(UniqueFdTest, AssignmentClosesWhatWasThere) {
  UniqueFd first = OpenNull();
  UniqueFd second = OpenNull();
  int old = first.get();
  first = std::move(second);
  EXPECT_FALSE(IsOpen(old));
  EXPECT_TRUE(IsOpen(first.get()));
}

TEST(UniqueFdTest, ReleaseHandsTheDescriptorOver) {
  UniqueFd fd = OpenNull();
  int number = fd.release();
  EXPECT_FALSE(fd.valid());
  EXPECT_TRUE(IsOpen(number));
  ::close(number);
}

}  // namespace
}  // namespace stasis
