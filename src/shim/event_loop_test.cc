#include "shim/event_loop.h"

#include <poll.h>

#include <future>
#include <thread>

#include "gtest/gtest.h"
#include "linux/files.h"
#include "linux/unix_socket.h"

namespace stasis {
namespace {

class EventLoopTest : public testing::Test {
 protected:
  void SetUp() override {
    auto loop = EventLoop::Create();
    ASSERT_TRUE(loop.ok());
    loop_ = *std::move(loop);
    thread_ = std::jthread([this] { loop_->Run(); });
  }
  void TearDown() override {
    loop_->Stop();
    thread_.join();
  }
  std::unique_ptr<EventLoop> loop_;
  std::jthread thread_;
};

TEST_F(EventLoopTest, CallRunsOnTheLoopsThreadAndAfterItsEndHere) {
  std::thread::id where;
  loop_->Call([&] { where = std::this_thread::get_id(); });
  EXPECT_EQ(where, thread_.get_id());
  loop_->Stop();
  thread_.join();
  loop_->Call([&] { where = std::this_thread::get_id(); });
  EXPECT_EQ(where, std::this_thread::get_id());
  thread_ = std::jthread([] {});
}

TEST_F(EventLoopTest, AHandlerMayEndItsOwnWatchAndOthers) {
  auto first = MakePipe();
  auto second = MakePipe();
  ASSERT_TRUE(first.ok() && second.ok());
  std::promise<void> ran;
  int calls = 0;
  auto handler = [&](short) {
    ++calls;
    loop_->Unwatch(first->read_end.get());
    loop_->Unwatch(second->read_end.get());
    ran.set_value();
  };
  ASSERT_TRUE(WriteAll(first->write_end.get(), "x").ok());
  ASSERT_TRUE(WriteAll(second->write_end.get(), "x").ok());
  loop_->Call([&] {
    loop_->Watch(first->read_end.get(), POLLIN, handler);
    loop_->Watch(second->read_end.get(), POLLIN, handler);
  });
  ran.get_future().wait();
  loop_->Call([] {});
  EXPECT_EQ(calls, 1);
}

TEST_F(EventLoopTest, TimersRunInTheirOrderAndCanBeCancelled) {
  std::promise<void> done;
  std::string order;
  loop_->Call([&] {
    loop_->RunAfter(std::chrono::milliseconds(30), [&] {
      order += "b";
      done.set_value();
    });
    auto never = loop_->RunAfter(std::chrono::milliseconds(20), [&] { order += "x"; });
    loop_->RunAfter(std::chrono::milliseconds(1), [&, never] {
      order += "a";
      loop_->Cancel(never);
    });
  });
  done.get_future().wait();
  EXPECT_EQ(order, "ab");
}

}  // namespace
}  // namespace stasis
