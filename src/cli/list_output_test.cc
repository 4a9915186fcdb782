#include "cli/list_output.h"

#include <gtest/gtest.h>

namespace stasis::cli {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'100);

Json Containers() {
  return Json::array({{{"Id", "0123456789abcdef0123"},
                       {"Names", {"/web"}},
                       {"Image", "busybox"},
                       {"Command", "sh -c 'while :; do :; done'"},
                       {"Created", 1'700'000'000},
                       {"State", "running"},
                       {"Status", "Up 2 minutes"},
                       {"Labels", {{"a", "b"}}},
                       {"HostConfig", {{"NetworkMode", "none"}}}}});
}

TEST(ListOutputTest, ContainersAreShownAsDockerShowsThem) {
  EXPECT_EQ(
      *ContainerList(Containers(), {}, kNow),
      "CONTAINER ID   IMAGE     COMMAND                  CREATED              STATUS         PORTS   NAMES\n"
      "0123456789ab   busybox   \"sh -c 'while :; do …\"   About a minute ago   Up 2 minutes           "
      "web\n");
  EXPECT_EQ(*ContainerList(Containers(), {.quiet = true}, kNow), "0123456789ab\n");
  EXPECT_EQ(*ContainerList(Containers(), {.quiet = true, .whole = true}, kNow), "0123456789abcdef0123\n");
}

TEST(ListOutputTest, JsonIsOneObjectALine) {
  const auto line = ParseJson(*ContainerList(Containers(), {.json = true}, kNow));
  ASSERT_TRUE(line.ok());
  EXPECT_EQ((*line)["Names"], "web");
  EXPECT_EQ((*line)["State"], "running");
  EXPECT_EQ((*line)["Labels"], "a=b");
  EXPECT_EQ((*line)["Networks"], "none");
}

TEST(ListOutputTest, ImagesHaveALineForEachName) {
  const Json images = Json::array({{{"Id", "sha256:0123456789abcdef"},
                                    {"Created", 1'700'000'000},
                                    {"Size", 2'000'000},
                                    {"RepoTags", {"host:5000/busybox:latest", "b:1"}}},
                                   {{"Id", "sha256:ffff"}, {"RepoTags", nullptr}}});
  const std::string text = *ImageList(images, {}, kNow);
  EXPECT_NE(text.find("host:5000/busybox   latest   0123456789ab"), text.npos) << text;
  EXPECT_NE(text.find("b                   1 "), text.npos) << text;
  EXPECT_NE(text.find("<none>"), text.npos) << text;
  EXPECT_EQ(*ImageList(images, {.quiet = true}, kNow), "0123456789ab\nffff\n");
}

TEST(ListOutputTest, OtherAnswersAreRefused) {
  EXPECT_FALSE(ContainerList(Json::object(), {}, kNow).ok());
  EXPECT_FALSE(ContainerList(Json::array({{{"Id", 7}}}), {}, kNow).ok());
}

}  // namespace
}  // namespace stasis::cli
