#include "linux/cancel.h"

#include <poll.h>
#include <unistd.h>

#include <thread>

#include "gtest/gtest.h"
#include "linux/unix_socket.h"

namespace stasis {
namespace {

using std::chrono::milliseconds;

class WaitForTest : public testing::Test {
 protected:
  void SetUp() override {
    auto pipe = MakePipe();
    ASSERT_TRUE(pipe.ok());
    pipe_ = *std::move(pipe);
  }
  Pipe pipe_;
};

TEST_F(WaitForTest, ReturnsWhatTheDescriptorIsReadyFor) {
  ASSERT_EQ(::write(pipe_.write_end.get(), "x", 1), 1);
  auto ready = WaitFor(pipe_.read_end.get(), POLLIN, After(milliseconds(5000)), {});
  ASSERT_TRUE(ready.ok());
  EXPECT_EQ(*ready & POLLIN, POLLIN);
}

TEST_F(WaitForTest, EndsAtTheDeadline) {
  auto ready = WaitFor(pipe_.read_end.get(), POLLIN, After(milliseconds(20)), {});
  EXPECT_EQ(ready.status().code(), StatusCode::kDeadlineExceeded);
}

TEST_F(WaitForTest, APassedDeadlineStillSeesWhatIsReady) {
  ASSERT_EQ(::write(pipe_.write_end.get(), "x", 1), 1);
  EXPECT_TRUE(WaitFor(pipe_.read_end.get(), POLLIN, After(milliseconds(-1)), {}).ok());
}

TEST_F(WaitForTest, EndsWhenCancelledFromAnotherThread) {
  std::stop_source source;
  std::jthread canceller([&source] { source.request_stop(); });
  auto ready = WaitFor(pipe_.read_end.get(), POLLIN, After(milliseconds(30000)), source.get_token());
  EXPECT_EQ(ready.status().code(), StatusCode::kCancelled);
}

TEST_F(WaitForTest, ATokenThatStoppedBeforeCancelsAtOnce) {
  std::stop_source source;
  source.request_stop();
  auto ready = WaitFor(pipe_.read_end.get(), POLLIN, kNoDeadline, source.get_token());
  EXPECT_EQ(ready.status().code(), StatusCode::kCancelled);
}

TEST(CancelFdTest, StaysReadableOnceStopped) {
  std::stop_source source;
  auto cancel = CancelFd::Create(source.get_token());
  ASSERT_TRUE(cancel.ok());
  pollfd polled = {(*cancel)->get(), POLLIN, 0};
  EXPECT_EQ(::poll(&polled, 1, 0), 0);
  source.request_stop();
  EXPECT_EQ(::poll(&polled, 1, 0), 1);
  EXPECT_EQ(::poll(&polled, 1, 0), 1);
}

}  // namespace
}  // namespace stasis
