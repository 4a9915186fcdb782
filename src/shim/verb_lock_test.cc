#include "shim/verb_lock.h"

#include <optional>
#include <thread>

#include "gtest/gtest.h"

namespace stasis {
namespace {

using Kind = VerbLock::Kind;

TEST(VerbLockTest, SharedOnesRunBesideEachOther) {
  VerbLock lock;
  auto first = lock.Acquire(Kind::kShared, After(std::chrono::seconds(1)), {});
  auto second = lock.Acquire(Kind::kShared, After(std::chrono::seconds(1)), {});
  EXPECT_TRUE(first.ok() && second.ok());
  EXPECT_TRUE(absl::IsDeadlineExceeded(
      lock.Acquire(Kind::kAlone, After(std::chrono::milliseconds(10)), {}).status()));
}

TEST(VerbLockTest, AReleaseLetsTheNextIn) {
  VerbLock lock;
  auto alone = lock.Acquire(Kind::kAlone, kNoDeadline, {});
  ASSERT_TRUE(alone.ok());
  std::jthread other(
      [&] { EXPECT_TRUE(lock.Acquire(Kind::kShared, After(std::chrono::seconds(30)), {}).ok()); });
  alone->Release();
}

TEST(VerbLockTest, WaitingCanBeCancelled) {
  VerbLock lock;
  auto alone = lock.Acquire(Kind::kAlone, kNoDeadline, {});
  std::stop_source stop;
  std::jthread other([&] {
    EXPECT_TRUE(absl::IsCancelled(lock.Acquire(Kind::kAlone, kNoDeadline, stop.get_token()).status()));
  });
  stop.request_stop();
  other.join();
  alone->Release();
  EXPECT_TRUE(lock.Acquire(Kind::kShared, After(std::chrono::seconds(1)), {}).ok());
}

}  // namespace
}  // namespace stasis
