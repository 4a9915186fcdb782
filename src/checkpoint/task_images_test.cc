#include "checkpoint/task_images.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "linux/files.h"

namespace stasis::checkpoint {
namespace {

TEST(TaskImagesTest, WhatIsMadeInMemoryComesToTheOtherImages) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  auto images = TaskImages::Make();
  ASSERT_TRUE(images.ok()) << images.status();
  auto others = TemporaryDirectory::Create("/tmp", "task-images-");
  ASSERT_TRUE(others.ok()) << others.status();
  auto directory = OpenDirectory(others->path());
  ASSERT_TRUE(directory.ok()) << directory.status();
  const std::string large(3 << 20, 'x');
  ASSERT_TRUE(WriteFileAtomically(images->path() + "/core-1.img", "core").ok());
  ASSERT_TRUE(WriteFileAtomically(images->path() + "/fdinfo-2.img", large).ok());
  ASSERT_TRUE(images->BringInto(directory->get()).ok());
  EXPECT_THAT(*ListDirectory(others->path()), testing::ElementsAre("core-1.img", "fdinfo-2.img"));
  EXPECT_EQ(*ReadFile(others->path() + "/fdinfo-2.img"), large);
  // One of that name is there already: neither is lost in silence.
  EXPECT_TRUE(absl::IsAlreadyExists(images->BringInto(directory->get())));
}

TEST(TaskImagesTest, NothingIsMounted) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const auto before = ReadFile("/proc/self/mounts");
  auto images = TaskImages::Make();
  ASSERT_TRUE(images.ok()) << images.status();
  EXPECT_EQ(*ReadFile("/proc/self/mounts"), *before);
}

}  // namespace
}  // namespace stasis::checkpoint
