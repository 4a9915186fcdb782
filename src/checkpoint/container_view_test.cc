#include "checkpoint/container_view.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>

#include "linux/files.h"

namespace stasis::checkpoint {
namespace {

class BindDestinationsTest : public testing::Test {
 protected:
  void SetUp() override {
    auto temporary = TemporaryDirectory::Create("/tmp", "view-");
    ASSERT_TRUE(temporary.ok()) << temporary.status();
    temporary_.emplace(*std::move(temporary));
    auto root = OpenDirectory(temporary_->path());
    ASSERT_TRUE(root.ok());
    root_ = *std::move(root);
    ASSERT_TRUE(MakeDirectories(temporary_->path() + "/data/inner").ok());
    ASSERT_TRUE(MakeDirectories(temporary_->path() + "/run").ok());
    ASSERT_TRUE(MakeDirectories(temporary_->path() + "/etc").ok());  // made by runc for the mount
    ASSERT_EQ(::symlinkat("/data", root_.get(), "link"), 0);
    ASSERT_EQ(::symlinkat("../../../../etc", root_.get(), "out"), 0);
    ASSERT_EQ(::symlinkat("/run", root_.get(), "var-run"), 0);
  }

  std::vector<std::string> Of(const std::string& mounts) {
    auto spec = ParseJson("{\"mounts\":" + mounts + "}");
    EXPECT_TRUE(spec.ok());
    auto destinations = BindDestinations(*spec, root_.get());
    EXPECT_TRUE(destinations.ok()) << destinations.status();
    return destinations.ok() ? *destinations : std::vector<std::string>();
  }

  std::optional<TemporaryDirectory> temporary_;
  UniqueFd root_;
};

TEST_F(BindDestinationsTest, ABindIsOneByTypeOrByOption) {
  EXPECT_EQ(
      Of(R"([{"destination":"/data","type":"bind"},{"destination":"/run","type":"none","options":["rbind","ro"]},
                   {"destination":"/proc","type":"proc"},{"destination":"/x"}])"),
      (std::vector<std::string>{"/data", "/run"}));
}

TEST_F(BindDestinationsTest, LinksAreFollowedAsTheContainerSeesThem) {
  EXPECT_EQ(
      Of(R"([{"destination":"/link/inner","type":"bind"},{"destination":"/var-run/lock/x","type":"bind"},
                   {"destination":"/out/passwd","type":"bind"}])"),
      (std::vector<std::string>{"/data/inner", "/run/lock/x", "/etc/passwd"}));
}

TEST_F(BindDestinationsTest, WhatIsNotThereStaysAsItIsWritten) {
  EXPECT_EQ(
      Of(R"([{"destination":"/no/such/place","type":"bind"},{"destination":"relative","type":"bind"}])"),
      (std::vector<std::string>{"/no/such/place", "/relative"}));
}

TEST_F(BindDestinationsTest, NonsenseHasNone) {
  EXPECT_TRUE(Of("[]").empty());
  EXPECT_TRUE(Of("{}").empty());
  EXPECT_TRUE(Of("[1,null,{\"destination\":7}]").empty());
}

TEST(CheckBelowBindsTest, WhatCriuCannotSaveOrMountAgainIsNamed) {
  const auto check = [](const std::string& mount) {
    const std::string own = "1 0 0:38 / / rw - overlay overlay rw,lowerdir=l/a,upperdir=/u\n";
    return Message(CheckBelowBinds({"/data", "/host"}, *ParseMounts(own + mount)));
  };
  EXPECT_EQ(
      check("2 1 0:4 net:[7] /host/run/netns/x rw - nsfs nsfs rw\n"),
      "the bind at /host takes along a pinned namespace (/host/run/netns/x), which CRIU cannot save: bind it "
      "without what is mounted below it (bind-nonrecursive)");
  EXPECT_EQ(
      check("2 1 0:40 / /host/roots/b/merged rw - overlay overlay rw,lowerdir=l/a,upperdir=/v\n"),
      "the bind at /host takes along the root of another container (/host/roots/b/merged), which CRIU cannot "
      "mount again: bind it without what is mounted below it (bind-nonrecursive)");
  EXPECT_EQ(check("2 1 0:38 / /host/roots/a/merged rw - overlay overlay rw,lowerdir=l/a,upperdir=/u\n"), "");
  EXPECT_EQ(check("2 1 0:40 / /host/mine rw - overlay overlay rw,lowerdir=/l,upperdir=/v\n"), "");
  EXPECT_EQ(check("2 1 0:4 net:[7] /elsewhere rw - nsfs nsfs rw\n"), "");
}

}  // namespace
}  // namespace stasis::checkpoint
