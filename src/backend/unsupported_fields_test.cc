#include "backend/unsupported_fields.h"

#include "gtest/gtest.h"

namespace stasis::backend {
namespace {

StatusOr<std::vector<std::string>> Check(const char* text) {
  return CheckUnsupportedFields(*ParseJson(text));
}

TEST(UnsupportedFieldsTest, WhatTheCliSendsByDefaultIsNeitherRefusedNorWarnedOf) {
  auto warnings =
      Check(R"({"OnBuild":null,"Volumes":{},"Healthcheck":null,"HostConfig":{"VolumesFrom":null,"Links":null,
    "VolumeDriver":"","CgroupnsMode":"","Isolation":"","UsernsMode":"","MemorySwappiness":-1,"OomKillDisable":false,
    "BlkioWeight":0,"BlkioDeviceReadBps":[],"DnsOptions":[],"CpuRealtimePeriod":0}})");
  ASSERT_TRUE(warnings.ok()) << warnings.status();
  EXPECT_TRUE(warnings->empty());
  EXPECT_TRUE(Check("{}")->empty());
  EXPECT_TRUE(Check("null")->empty());
  EXPECT_TRUE(Check(R"({"HostConfig":{"CgroupnsMode":"private"}})")->empty());
}

TEST(UnsupportedFieldsTest, WhatWouldMakeAnotherContainerIsRefusedByName) {
  for (const char* text :
       {R"({"HostConfig":{"VolumesFrom":["c1"]}})", R"({"HostConfig":{"DeviceRequests":[{"Count":-1}]}})",
        R"({"HostConfig":{"UsernsMode":"x"}})", R"({"HostConfig":{"BlkioDeviceReadBps":[{"Rate":1}]}})"}) {
    EXPECT_EQ(Check(text).status().code(), StatusCode::kUnimplemented) << text;
  }
  EXPECT_EQ(Message(Check(R"({"HostConfig":{"Links":["a:b"]}})").status()),
            "HostConfig.Links is not implemented by Stasis yet");
}

TEST(UnsupportedFieldsTest, WhatDoesNoHarmIsWarnedOf) {
  auto warnings = Check(R"({"Healthcheck":{"Test":["CMD","true"]},"HostConfig":{"CpuCount":2},
    "NetworkingConfig":{"EndpointsConfig":{"bridge":{"MacAddress":"02:42:ac:11:00:02","Aliases":null}}}})");
  ASSERT_TRUE(warnings.ok());
  ASSERT_EQ(warnings->size(), 3u);
  EXPECT_EQ(
      warnings->at(2),
      "NetworkingConfig.EndpointsConfig.bridge.MacAddress is not implemented by Stasis yet and is ignored");
}

TEST(UnsupportedFieldsTest, AHealthCheckIsWarnedOfOnceWhoeverAsksForIt) {
  const std::string warning = "Healthcheck is not implemented by Stasis yet and is ignored";
  const Json with = *ParseJson(R"({"Healthcheck":{"Test":["CMD","true"]}})");
  const Json none = *ParseJson(R"({"Healthcheck":{"Test":["NONE"]}})");
  const Json empty = Json::object();
  EXPECT_EQ(*CheckUnsupportedFields(with), std::vector<std::string>{warning});
  EXPECT_EQ(*CheckUnsupportedFields(none), std::vector<std::string>{});
  EXPECT_EQ(IgnoredOfImage(with, empty), std::vector<std::string>{warning});
  EXPECT_EQ(IgnoredOfImage(with, with), std::vector<std::string>{});
  EXPECT_EQ(IgnoredOfImage(with, none), std::vector<std::string>{});
  EXPECT_EQ(IgnoredOfImage(none, empty), std::vector<std::string>{});
  EXPECT_EQ(IgnoredOfImage(empty, empty), std::vector<std::string>{});
}

TEST(UnsupportedFieldsTest, APlaceInANetworkIsRefusedInDockersWords) {
  EXPECT_EQ(Message(Check(R"({"NetworkingConfig":{"EndpointsConfig":{"none":{"Aliases":["a"]}}}})").status()),
            "network-scoped alias is supported only for containers in user defined networks");
}

}  // namespace
}  // namespace stasis::backend
