#include "engine/record_codec.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace stasis::engine {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

const std::string kId(64, 'a');

std::string Text(const std::string& fields) {
  return R"({"Id": ")" + kId + R"(", "Name": "web", "Argv": ["sh"])" + (fields.empty() ? "" : ", ") + fields +
         "}";
}

TEST(RecordCodecTest, WhatARequestIsRefusedForIsReadAllTheSame) {
  const auto decoded = DecodeRecord(Text(
      R"("HostConfig": {"Memory": 1, "Ulimits": [{"Name": "old", "Soft": 2, "Hard": 1}], "AutoRemove": true,)"
      R"("Mounts": [{"Type": "npipe", "Target": "x"}], "RestartPolicy": {"Name": "sometimes"}},)"
      R"("Config": {"Env": ["=x"]}, "State": {"Phase": "exited", "ExitCode": 3})"));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_THAT(decoded->problems, IsEmpty());
  const ContainerRecord& record = decoded->record;
  EXPECT_EQ(record.host_config.memory, 1);
  EXPECT_THAT(record.host_config.ulimits, SizeIs(1));
  EXPECT_EQ(record.host_config.mounts.at(0).type, "npipe");
  EXPECT_EQ(record.host_config.restart_policy, "sometimes");
  EXPECT_EQ(record.config.env.at(0), "=x");
  EXPECT_EQ(record.state.exit_code, 3);
}

TEST(RecordCodecTest, AFieldThatCannotBeReadCostsOnlyItself) {
  const auto decoded = DecodeRecord(Text(
      R"("Created": "yesterday", "HostConfig": {"Memory": "much", "CpuShares": 7, "PidsLimit": [], "Init": true,)"
      R"("Tmpfs": {"/a": 1, "/b": "ro"}}, "Config": {"Tty": 1, "User": "me", "Cmd": [1], "Labels": []},)"
      R"("State": {"Phase": "dreaming", "Pid": 7})"));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  const ContainerRecord& record = decoded->record;
  EXPECT_EQ(record.host_config.cpu_shares, 7);
  EXPECT_EQ(record.host_config.pids_limit, std::nullopt);
  EXPECT_EQ(record.host_config.init, true);
  EXPECT_EQ(record.host_config.tmpfs, (std::map<std::string, std::string>{{"/b", "ro"}}));
  EXPECT_EQ(record.config.user, "me");
  EXPECT_EQ(record.config.cmd, std::nullopt);
  EXPECT_EQ(record.state.phase, Phase::kExited);
  EXPECT_EQ(record.state.pid, 7);
  std::string problems;
  for (const Status& problem : decoded->problems) problems += Message(problem) + "\n";
  for (const char* named : {"Created", "Memory", "PidsLimit", "/a", "Tty", "Cmd", "Labels", "dreaming"})
    EXPECT_THAT(problems, HasSubstr(named));
}

TEST(RecordCodecTest, OlderAndNewerRecordsAreRead) {
  ASSERT_TRUE(DecodeRecord(R"({"Id": ")" + kId + R"("})").ok());  // all else has a default
  EXPECT_TRUE(DecodeRecord(Text(R"("Version": 1, "Hologram": {"Depth": 3})")).ok());
  const Status newer = DecodeRecord(Text(R"("Version": 2)")).status();
  EXPECT_EQ(newer.code(), StatusCode::kUnimplemented);
  EXPECT_THAT(Message(newer), HasSubstr("newer Stasis"));
}

TEST(RecordCodecTest, WhatIsNoRecordSaysSo) {
  for (const char* text : {"", "{", "[]", "7", "{}", R"({"Id": "short"})", R"({"Id": 7})"})
    EXPECT_EQ(DecodeRecord(text).status().code(), StatusCode::kDataLoss) << text;
}

}  // namespace
}  // namespace stasis::engine
