#include "engine/config_merge.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace stasis::engine {
namespace {

using testing::ElementsAre;
using Words = std::vector<std::string>;

const Json& ImageConfig() {
  static const Json config = {{"Cmd", {"serve"}},
                              {"Entrypoint", {"/entry"}},
                              {"Env", {"PATH=/bin", "MODE=image"}},
                              {"User", "1000"},
                              {"WorkingDir", "/work"},
                              {"StopSignal", "SIGQUIT"},
                              {"Labels", {{"a", "image"}, {"b", "image"}}}};
  return config;
}

TEST(MergeImageConfigTest, TheImageFillsWhatTheUserLeftOpen) {
  backend::ContainerConfig user;
  user.env = {"MODE=user"};
  user.labels = {{"a", "user"}};
  MergeImageConfig(ImageConfig(), &user);
  EXPECT_THAT(*CommandOf(user), ElementsAre("/entry", "serve"));
  EXPECT_THAT(user.env, ElementsAre("PATH=/bin", "MODE=user"));
  EXPECT_EQ(user.user, "1000");
  EXPECT_EQ(user.working_dir, "/work");
  EXPECT_EQ(user.stop_signal, "SIGQUIT");
  EXPECT_EQ(user.labels.at("a"), "user");
  EXPECT_EQ(user.labels.at("b"), "image");
}

TEST(MergeImageConfigTest, TheUsersCommandReplacesTheImagesOnly) {
  backend::ContainerConfig user;
  user.cmd = Words{"status"};
  MergeImageConfig(ImageConfig(), &user);
  EXPECT_THAT(*CommandOf(user), ElementsAre("/entry", "status"));
}

TEST(MergeImageConfigTest, TheUsersEntrypointDropsTheImagesCommand) {
  backend::ContainerConfig user;
  user.entrypoint = Words{"/bin/sh"};
  MergeImageConfig(ImageConfig(), &user);
  EXPECT_THAT(*CommandOf(user), ElementsAre("/bin/sh"));
}

TEST(MergeImageConfigTest, AnEmptyEntrypointTakesTheImagesAway) {
  backend::ContainerConfig user;
  user.entrypoint = Words{""};
  user.cmd = Words{"id"};
  MergeImageConfig(ImageConfig(), &user);
  EXPECT_THAT(*CommandOf(user), ElementsAre("id"));
}

TEST(MergeImageConfigTest, VolumesAndPortsOfBothAreThereOnce) {
  backend::ContainerConfig user;
  user.volumes = {"/b", "/a"};
  user.exposed_ports = {"80/tcp"};
  const Json image = {{"Volumes", {{"/a", Json::object()}, {"/c", Json::object()}}},
                      {"ExposedPorts", {{"80/tcp", Json::object()}, {"81/tcp", Json::object()}}}};
  MergeImageConfig(image, &user);
  EXPECT_THAT(user.volumes, ElementsAre("/b", "/a", "/c"));
  EXPECT_THAT(user.exposed_ports, ElementsAre("80/tcp", "81/tcp"));
}

TEST(CommandOfTest, NothingToRunIsAnError) {
  backend::ContainerConfig user;
  MergeImageConfig(Json(), &user);
  EXPECT_EQ(Message(CommandOf(user).status()), "No command specified");
  user.cmd = {{""}};  // the start fails, as with any program that is not there
  EXPECT_TRUE(CommandOf(user).ok());
}

TEST(MergeImageConfigTest, WhatCannotBeReadOfAnImageCountsAsAbsent) {
  backend::ContainerConfig user;
  user.cmd = {"sh"};
  MergeImageConfig({{"Env", {"A=1", "", "=x"}}, {"User", 7}, {"WorkingDir", "/srv"}}, &user);
  EXPECT_THAT(user.env, testing::ElementsAre("A=1"));
  EXPECT_EQ(user.user, "");
  EXPECT_EQ(user.working_dir, "/srv");
}

}  // namespace
}  // namespace stasis::engine
