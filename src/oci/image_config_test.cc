#include "oci/image_config.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace stasis::oci {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kDigest = "sha256:" + std::string(64, 'a');

TEST(ImageConfigTest, FieldsAreRead) {
  Json document =
      *ParseJson(R"({"architecture":"arm64","os":"linux","variant":"v8","created":"2024-01-02T03:04:05Z",
      "config":{"Env":["A=b"],"Cmd":["sh"],"Entrypoint":"/init","User":"redis","WorkingDir":"/data",
                "Labels":{"a":"b"},"ExposedPorts":{"80/tcp":{}},"Volumes":{"/data":{}},"StopSignal":"SIGINT"},
      "rootfs":{"type":"layers","diff_ids":[")" +
                 kDigest + R"("]}})");
  StatusOr<ImageConfig> config = ReadImageConfig(document);
  ASSERT_TRUE(config.ok()) << Message(config.status());
  EXPECT_THAT(config->env, ElementsAre("A=b"));
  EXPECT_THAT(config->cmd, ElementsAre("sh"));
  EXPECT_THAT(config->entrypoint, ElementsAre("/init"));
  EXPECT_EQ(config->user, "redis");
  EXPECT_EQ(config->labels["a"], "b");
  EXPECT_THAT(config->exposed_ports, ElementsAre("80/tcp"));
  EXPECT_THAT(config->volumes, ElementsAre("/data"));
  EXPECT_EQ(config->layers[0].str(), kDigest);
  EXPECT_EQ(FormatPlatform(config->platform), "linux/arm64/v8");
}

TEST(ImageConfigTest, WhatIsWrongIsNamed) {
  std::string many = "[";
  for (size_t i = 0; i <= kMaxLayers; ++i) many += (i ? ",\"" : "\"") + kDigest + "\"";
  for (auto [text, message] : std::initializer_list<std::pair<std::string, const char*>>{
           {"[]", "want an object"},
           {"{}", "no rootfs"},
           {R"({"os":"windows","rootfs":{}})", "image operating system \"windows\""},
           {R"({"rootfs":{"diff_ids":["../../etc"]}})", "rootfs.diff_ids"},
           {R"({"rootfs":{"diff_ids":)" + many + "]}}", "max depth exceeded"},
           {R"({"rootfs":{"type":"tree"}})", "rootfs.type"},
           {R"({"rootfs":{},"config":{"Env":"A=b"}})", "config.Env"},
           {R"({"rootfs":{},"config":{"Env":["A=\u0000"]}})", "NUL"},
           {R"({"rootfs":{},"config":{"Labels":{"a":1}}})", "Labels.a"},
           {R"({"rootfs":{},"created":"soon"})", ""}}) {
    StatusOr<ImageConfig> config = ReadImageConfig(*ParseJson(text));
    ASSERT_FALSE(config.ok()) << text;
    EXPECT_THAT(Message(config.status()), HasSubstr(message));
  }
}

TEST(ImageConfigTest, NeitherManyValuesNorLargeLabelsAreTaken) {
  Json document = {{"rootfs", Json::object()},
                   {"config", {{"Labels", {{"a", std::string(kMaxLabels - 1, 'x')}}}}}};
  EXPECT_TRUE(ReadImageConfig(document).ok());
  document["config"]["Labels"]["b"] = "";
  EXPECT_EQ(Message(ReadImageConfig(document).status()),
            "labels: 65537 bytes in all, at most 65536 are allowed");
  document["config"] = {{"Env", std::vector<std::string>(20'000, "A=b")}};
  EXPECT_THAT(Message(ReadImageConfig(document).status()), HasSubstr("too many values"));
  document["config"] = Json::object();
  for (int i = 0; i < 20'000; ++i) document["history"][i / 10].push_back({{"x", i}});
  EXPECT_THAT(Message(ReadImageConfig(document).status()), HasSubstr("too many values"));
}

TEST(ImageManifestTest, DescriptorsAreCheckedBeforeTheyNameFiles) {
  Json good =
      *ParseJson(R"({"config":{"mediaType":"m","digest":")" + kDigest + R"(","size":3},"layers":[]})");
  ASSERT_TRUE(ReadImageManifest(good).ok());
  EXPECT_FALSE(ReadImageManifest(*ParseJson(R"({"config":{"digest":"sha256:../x"}})")).ok());
  EXPECT_FALSE(ReadImageManifest(*ParseJson("[]")).ok());
  StatusOr<std::vector<Descriptor>> index = ReadImageIndex(*ParseJson(
      R"({"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":")" + kDigest +
      R"(","size":1,"platform":{"architecture":"amd64","os":"linux"},"annotations":{"a":"b"}}]})"));
  ASSERT_TRUE(index.ok()) << Message(index.status());
  EXPECT_TRUE(IsImageIndex((*index)[0]));
  EXPECT_EQ((*index)[0].architecture, "amd64");
}

TEST(ArchiveManifestTest, ImagesAreListed) {
  StatusOr<std::vector<ArchiveImage>> images =
      ReadArchiveManifest(*ParseJson(R"([{"Config":"c.json","RepoTags":null,"Layers":["a/layer.tar"]}])"));
  ASSERT_TRUE(images.ok());
  EXPECT_THAT((*images)[0].layers, ElementsAre("a/layer.tar"));
  EXPECT_FALSE(ReadArchiveManifest(*ParseJson("[{}]")).ok());
  EXPECT_FALSE(ReadArchiveManifest(*ParseJson("{}")).ok());
}

}  // namespace
}  // namespace stasis::oci
