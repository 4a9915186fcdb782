#include "cli/checkpoint_report.h"

#include <gtest/gtest.h>

namespace stasis::cli {
namespace {

Json Process(int pid, int parent, const char* name) {
  return {{"pid", pid}, {"parent", parent}, {"name", name}, {"threads", 1}, {"resident_bytes", 8192}};
}

TEST(CheckpointReportTest, ProcessesAreDrawnBelowTheirParents) {
  Json manifest = {{"name", "cp1"},
                   {"container_id", "abc"},
                   {"created", "2026-01-02T03:04:05Z"},
                   {"bytes", 1'500'000},
                   {"stored_bytes", 20'000},
                   {"total_us", 1'500'000},
                   {"frozen_us", 12'345},
                   {"thaws", 2},
                   {"criu_version", "4.2.1"},
                   {"prepare_us", 2'000},
                   {"dump_us", 900},
                   {"files_us", 300},
                   {"copy_us", 0},
                   {"layer", {{"size", 10}}},
                   {"layer_files", 12},
                   {"layer_bytes", 34'000},
                   {"kernel", "6.18"},
                   {"architecture", "x86_64"},
                   {"exit", true},
                   {"network_namespace", "own"}};
  manifest["processes"] = {Process(1, 0, "sh"), Process(7, 1, "worker"), Process(8, 7, "deep"),
                           Process(9, 1, "last")};
  manifest["processes"][1]["threads"] = 3;
  EXPECT_EQ(*CheckpointReport(manifest),
            "cp1\n"
            "├── Container: abc\n"
            "├── Created: 2026-01-02T03:04:05Z\n"
            "├── Took: 1.5 s, until it was durable\n"
            "├── Size: 1.5MB, new in the store 20kB\n"
            "├── Memory: 32.8kB resident (8 pages) in 4 processes\n"
            "├── Files: 12 (34kB)\n"
            "├── Prepared: 2 ms, before the freeze\n"
            "├── Frozen: 12.3 ms, then ended\n"
            "│   ├── Let go on before that: 2, since it was in an exec or a vfork\n"
            "│   ├── Dump: 900 us\n"
            "│   └── Files: 300 us\n"
            "├── CRIU: 4.2.1\n"
            "├── Kernel: 6.18 x86_64\n"
            "├── Network namespace: own\n"
            "└── Process tree\n"
            "    └── [1]  sh (8.19kB)\n"
            "        ├── [7]  worker (8.19kB, 3 threads)\n"
            "        │   └── [8]  deep (8.19kB)\n"
            "        └── [9]  last (8.19kB)\n");
}

TEST(CheckpointReportTest, FilesAndCopiesAreShownWhereThereAreAny) {
  const std::string without = *CheckpointReport({{"name", "cp"}, {"layer", nullptr}, {"freeze", "plain"}});
  EXPECT_NE(without.find("Files: not in it\n"), without.npos) << without;
  EXPECT_EQ(without.find("Files: 0 us"), without.npos) << without;
  EXPECT_EQ(without.find("Copies: "), without.npos) << without;
  const std::string with = *CheckpointReport({{"name", "cp"}, {"freeze", "cow"}, {"copy_us", 1'500}});
  EXPECT_NE(with.find("│   └── Copies: 1.5 ms\n"), with.npos) << with;
  EXPECT_NE(with.find("├── Freeze: copy on write\n"), with.npos) << with;
  const std::string direct = *CheckpointReport({{"name", "cp"}, {"freeze", "direct"}, {"memory_us", 2'500}});
  EXPECT_NE(direct.find("│   └── Memory: 2.5 ms\n"), direct.npos) << direct;
  EXPECT_NE(direct.find("├── Freeze: direct, "), direct.npos) << direct;
}

TEST(CheckpointReportTest, WhatIsNotInItIsShown) {
  const std::string report = *CheckpointReport(
      {{"name", "cp"}, {"exec_processes", {"e1 (top)"}}, {"warnings", {"process 1 (a\x1b): it is lost"}}});
  EXPECT_NE(report.find("Not in it: ran beside the container's own processes\n│   └── e1 (top)\n"),
            report.npos)
      << report;
  EXPECT_NE(
      report.find("Warnings: what a restore does not bring back\n│   └── process 1 (a\\x1b): it is lost\n"),
      report.npos)
      << report;
}

TEST(CheckpointReportTest, DetailsAreDrawnWhereTheyBelong) {
  Json manifest = {{"name", "cp"}, {"bytes", 5'000}, {"layer", {{"size", 1}}}};
  manifest["processes"] = {Process(1, 0, "init"), Process(2, 1, "worker")};
  CheckpointDetails details;
  details.usage = {{"StoredBytes", 2'000}, {"OwnBytes", 1'000}};
  details.changes = Json::array({{{"Path", "/new\x1b[2J"}, {"Kind", 1}}});
  details.processes = {
      {{"pid", 2},
       {"parent", 1},
       {"working_directory", "/srv"},
       {"files",
        Json::array({{{"fd", 3}, {"kind", "file"}, {"name", "/a\nb"}, {"access", "w"}, {"position", 9}}})},
       {"sockets",
        {{{"fd", 4},
          {"family", "inet"},
          {"type", "stream"},
          {"protocol", "tcp"},
          {"state", "listen"},
          {"local", "[::]:80"}},
         {{"fd", 5}, {"family", "unix"}, {"type", "dgram"}, {"remote", "@\x1b"}}}},
       {"memory", {{"mapped_bytes", 8'192}, {"saved_bytes", 4'096}, {"shared_bytes", 0}}},
       {"mappings", Json::array({{{"start", "1000"},
                                  {"end", "3000"},
                                  {"protection", "rw-p"},
                                  {"kind", "heap"},
                                  {"saved_bytes", 4'096}}})},
       {"mappings_left_out", 7}},
      {{"pid", 9}, {"parent", 1}, {"name", "late"}, {"files", Json::array()}}};
  const std::string report = *CheckpointReport(manifest, details);
  for (const char* part : {
           "│   ├── Compressed: 2kB on disk",
           "│   └── Unique: 1kB, what its removal would free",
           "└── A /new\\x1b[2J\n",
           "        │   ├── Open files\n        │   │   ├── [cwd]  /srv\n",
           "        │   │   └── [file 3]  /a\\x0ab (w, at 9)\n",
           "[tcp (listen) 4]  [::]:80\n",
           "[unix (dgram) 5]  -> @\\x1b\n",
           "Memory: 8.19kB mapped, 4.1kB saved\n",
           "[rw-p 1000-3000]  heap, 4.1kB saved\n",
           "... and 7 more\n",
           "[9]  late",
       }) {
    EXPECT_NE(report.find(part), report.npos) << part << "\n" << report;
  }
  details.pid = 9;
  const std::string one = *CheckpointReport(manifest, details);
  EXPECT_NE(one.find("[9]  late"), one.npos) << one;
  EXPECT_EQ(one.find("worker"), one.npos) << one;
  details.processes = {Json({{"pid", 2}, {"files", "many"}})};
  EXPECT_FALSE(CheckpointReport(manifest, details).ok());
}

TEST(CheckpointReportTest, ALineTellsWhatWasNewInTheStore) {
  const Json entry = {{"Name", "cp"}, {"Bytes", 5}, {"StoredBytes", 2}, {"FilesOnly", true}};
  const CheckpointLine line = *ReadCheckpointLine(entry);
  EXPECT_EQ(line.bytes, 5u);
  EXPECT_EQ(line.stored_bytes, 2u);
  EXPECT_TRUE(line.files_only);
}

TEST(CheckpointReportTest, SaysOfWhatContainerAndImageItIs) {
  Json manifest = {{"name", "cp"}, {"container_id", std::string(64, 'a')}};
  EXPECT_NE(CheckpointReport(manifest)->find("Container: " + std::string(64, 'a')), std::string::npos);
  manifest["engine_record"] =
      R"({"Name": "web", "ImageId": "sha256:0123456789abcdef", "Argv": ["serve", "-p"],
                                  "Config": {"Image": "nginx:1", "Tty": true}})";
  const std::string report = *CheckpointReport(manifest);
  for (const char* part : {"Container: web (aaaaaaaaaaaa)", "Image: nginx:1 (0123456789ab)", "Options: --tty",
                           "Command: serve -p"})
    EXPECT_NE(report.find(part), report.npos) << report;
}

TEST(CheckpointReportTest, ParentsInACircleAndEscapesDoNoHarm) {
  Json manifest = {{"name", "\x1b[2J"}};
  manifest["processes"] = {Process(5, 6, "a"), Process(6, 5, "b"), Process(7, 7, "self")};
  const std::string report = *CheckpointReport(manifest);
  for (const char* shown : {"[5]", "[6]", "[7]"}) EXPECT_NE(report.find(shown), report.npos) << report;
  EXPECT_EQ(report.find('\x1b'), report.npos);
}

TEST(CheckpointReportTest, AVeryDeepTreeIsCut) {
  Json manifest = {{"name", "deep"}, {"processes", Json::array()}};
  for (int pid = 1; pid < 16'000; ++pid) manifest["processes"].push_back(Process(pid, pid - 1, "p"));
  const std::string report = *CheckpointReport(manifest);
  EXPECT_NE(report.find("...\n"), report.npos);
  EXPECT_LT(report.size(), 4u << 20);
}

TEST(CheckpointReportTest, ChangesAreShownAsDockerShowsThem) {
  const Json changes = {
      {{"Path", "/a"}, {"Kind", 0}}, {{"Path", "/a/b"}, {"Kind", 1}}, {{"Path", "/\x1b[2J"}, {"Kind", 2}}};
  EXPECT_EQ(*ChangesReport(changes), "C /a\nA /a/b\nD /\\x1b[2J\n");
  EXPECT_EQ(*ChangesReport(Json::array()), "");
}

TEST(CheckpointReportTest, OtherAnswersAreRefused) {
  EXPECT_FALSE(ChangesReport(Json({{"Path", "/a"}})).ok());
  EXPECT_FALSE(ChangesReport(Json::array({{{"Path", "/a"}, {"Kind", 3}}})).ok());
  EXPECT_FALSE(CheckpointReport(Json({{"processes", 7}})).ok());
  EXPECT_FALSE(CheckpointReport(Json({{"bytes", "many"}})).ok());
}

TEST(CheckpointReportTest, DurationsHaveAFittingUnit) {
  EXPECT_EQ(HumanMicroseconds(850), "850 us");
  EXPECT_EQ(HumanMicroseconds(12'345), "12.3 ms");
  EXPECT_EQ(HumanMicroseconds(1'250'000), "1.25 s");
}

}  // namespace
}  // namespace stasis::cli
