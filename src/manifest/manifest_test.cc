#include "manifest/manifest.h"

#include <gtest/gtest.h>

namespace stasis {
namespace {

Manifest Example() {
  Manifest manifest;
  manifest.name = "cp1";
  manifest.container_id = std::string(64, 'a');
  manifest.created = absl::FromUnixSeconds(1'700'000'000);
  manifest.exit = true;
  manifest.frozen_us = 54'000;
  manifest.total_us = 540'000;
  manifest.bytes = 1 << 20;
  manifest.criu_version = "4.2.1";
  manifest.tcp_established = true;
  manifest.empty_namespaces = {"network"};
  manifest.processes = {{1, 0, 0, "sh", "/bin/sh -c true", 1, 4096},
                        {7, 1, 101, "node", "node \xff", 11, 8192}};
  manifest.exec_processes = {"e1 (top)"};
  manifest.warnings = {"process 1 (top): it is lost"};
  manifest.engine_record = R"({"image":"busybox"})";
  manifest.files = {{"core-1.img", {5000, 1, store::PageHash{1, 2}}}, {"empty.img", {}}};
  manifest.layer = store::StreamId{700, 0, store::PageHash{3}};
  manifest.layer_bytes = 12;
  return manifest;
}

TEST(ManifestTest, WhatIsWrittenIsReadBack) {
  Manifest manifest = Example();
  auto read = ParseManifest(ToText(manifest));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->name, "cp1");
  EXPECT_EQ(read->created, manifest.created);
  EXPECT_TRUE(read->exit);
  EXPECT_EQ(read->frozen_us, 54'000u);
  EXPECT_EQ(read->total_us, 540'000u);
  EXPECT_EQ(read->criu_version, "4.2.1");
  EXPECT_EQ(read->empty_namespaces, manifest.empty_namespaces);
  EXPECT_EQ(read->exec_processes, manifest.exec_processes);
  EXPECT_EQ(read->warnings, manifest.warnings);
  EXPECT_EQ(read->engine_record, manifest.engine_record);
  ASSERT_EQ(read->files.size(), 2u);
  EXPECT_EQ(read->files[0].name, "core-1.img");
  EXPECT_EQ(read->files[0].content, manifest.files[0].content);
  EXPECT_EQ(read->files[1].content, store::StreamId());
  EXPECT_EQ(read->layer, manifest.layer);
  EXPECT_EQ(read->layer_bytes, 12u);
  manifest.layer.reset();
  EXPECT_FALSE(ParseManifest(ToText(manifest))->layer);
  ASSERT_EQ(read->processes.size(), 2u);
  EXPECT_EQ(read->processes[1].pid, 7);
  EXPECT_EQ(read->processes[1].user, 101u);
  EXPECT_EQ(read->processes[1].command, "node \xEF\xBF\xBD") << "bytes that are not UTF-8 become U+FFFD";
}

TEST(ManifestTest, AnotherVersionIsNotGuessedAt) {
  EXPECT_TRUE(absl::IsUnimplemented(ParseManifest(R"({"version":3})").status()));
  EXPECT_TRUE(absl::IsUnimplemented(ParseManifest(R"({"version":1})").status()));
}

TEST(ManifestTest, WhatIsNoManifestIsDataLoss) {
  std::string deep(100'000, '[');
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"), std::string("{}"), std::string("null"), deep,
        std::string(R"({"version":"1"})"), std::string(R"({"version":0})"), std::string(R"({"version":-1})"),
        std::string(R"({"version":2})"), std::string(R"({"version":2,"created":"yesterday"})"),
        std::string(R"({"version":2,"created":"2026-01-01T00:00:00Z","processes":{}})"),
        std::string(R"({"version":2,"created":"2026-01-01T00:00:00Z","processes":[1]})"),
        std::string(R"({"version":2,"created":"2026-01-01T00:00:00Z","processes":[{"pid":"1"}]})"),
        std::string(R"({"version":2,"created":"2026-01-01T00:00:00Z","bytes":-1})"),
        std::string(R"({"version":2,"created":"2026-01-01T00:00:00Z","exit":1})"),
        std::string(R"({"version":2,"created":"2026-01-01T00:00:00Z","empty_namespaces":[1]})")}) {
    EXPECT_TRUE(absl::IsDataLoss(ParseManifest(text).status())) << text.substr(0, 80);
  }
}

TEST(ManifestTest, AFilesNameAndContentAreChecked) {
  const ManifestFile good = Example().files[0];
  std::vector<ManifestFile> bad(6, good);
  bad[0].name = "../core-1.img";
  bad[1].name = ".hidden";
  bad[2].name = "";
  bad[3].name.assign(256, 'n');
  bad[4].content.size = store::kMaxStream + 1;
  bad[5].content.depth = store::kMaxDepth + 1;
  for (const ManifestFile& file : bad) {
    Manifest manifest = Example();
    manifest.files = {file};
    EXPECT_TRUE(absl::IsDataLoss(ParseManifest(ToText(manifest)).status())) << file.name;
  }
  Manifest manifest = Example();
  manifest.files = {good, good};
  EXPECT_TRUE(absl::IsDataLoss(ParseManifest(ToText(manifest)).status())) << "twice";
  std::string text = ToText(Example());
  text[text.find("\"root\":\"") + 9] = 'x';
  EXPECT_TRUE(absl::IsDataLoss(ParseManifest(text).status())) << "no hash";
}

TEST(ManifestTest, LimitsAreKept) {
  EXPECT_TRUE(absl::IsDataLoss(ParseManifest(std::string(kMaxManifest + 1, ' ')).status()));
  Manifest manifest = Example();
  manifest.processes.resize(kMaxProcesses + 1);
  EXPECT_TRUE(absl::IsDataLoss(ParseManifest(ToText(manifest)).status()));
  manifest = Example();
  manifest.name.assign(1000, 'n');
  EXPECT_TRUE(absl::IsDataLoss(ParseManifest(ToText(manifest)).status()));
  manifest = Example();
  manifest.processes[0].command.assign(13000, 'c');
  EXPECT_TRUE(absl::IsDataLoss(ParseManifest(ToText(manifest)).status()));
}

}  // namespace
}  // namespace stasis
