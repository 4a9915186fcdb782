#include "gtest/gtest.h"
#include "protocol/checkpointer.h"
#include "protocol/frame.h"
#include "protocol/journal.h"
#include "protocol/shim.h"

namespace stasis::protocol {
namespace {

ShimConfig GoodConfig() {
  ShimConfig config;
  config.version = kVersion;
  config.id = "c1";
  config.bundle = "/b";
  config.runtime = "/bin/runc";
  config.runtime_root = "/run/runc";
  config.runtime_arguments = {"--systemd-cgroup"};
  config.cgroup_path = "/stasis/c1";
  config.stdio = {.stdin_fifo = "/f", .stdout_fifo = "", .stderr_fifo = "", .terminal = true, .width = 80};
  config.log_path = "/l";
  config.log_max_size = 5;
  config.log_max_files = 3;
  config.labels = {"a=b"};
  config.restore = RestoreSource{.directory = "/cp/x", .store = "/cp/.store", .paused = true};
  return config;
}

// What is read back says the same as what was written.
template <typename T, typename FromJson>
void ExpectRoundTrip(const T& value, FromJson from_json) {
  auto parsed = ParseJson(DumpJson(ToJson(value)));
  ASSERT_TRUE(parsed.ok());
  auto back = from_json(*parsed);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(DumpJson(ToJson(*back)), DumpJson(ToJson(value)));
}

TEST(MessagesTest, EveryMessageSurvivesItsJson) {
  ExpectRoundTrip(GoodConfig(), ShimConfigFromJson);
  ExitRecord record{
      .process = "e1", .status = 137, .oom_killed = true, .at = absl::FromUnixNanos(5), .reason = "r"};
  ExpectRoundTrip(record, ExitRecordFromJson);
  ShimState state;
  state.version = kVersion;
  state.status = "running";
  state.pid = 7;
  state.started_at = absl::InfinitePast();
  state.checkpointing = true;
  state.exit = record;
  state.execs = {{.process = "e1", .pid = 8, .terminal = true, .args = {"sh", "-c"}}};
  ExpectRoundTrip(state, ShimStateFromJson);
  ExpectRoundTrip(
      ExecRequest{.process = "e1", .spec = {{"args", {"sh"}}}, .stdio = {}, .wait_for_attach = true},
      ExecRequestFromJson);
  CheckpointRequest request;
  request.name = "cp1";
  request.directory = "/cp";
  request.store = "/cp/.store";
  request.exit = true;
  request.empty_namespaces = {"network"};
  ExpectRoundTrip(request, CheckpointRequestFromJson);
  ExpectRoundTrip(CheckpointResult{.frozen_us = 5, .bytes = 6, .warnings = {"w"}}, CheckpointResultFromJson);
  ExpectRoundTrip(
      ShimEvent{
          .sequence = 3, .type = "exit", .process = "init", .at = absl::FromUnixNanos(9), .exit = record},
      ShimEventFromJson);
  ExpectRoundTrip(AttachRequest{.process = "init", .use_stdin = true}, AttachRequestFromJson);
  CheckpointPlan plan;
  plan.request = request;
  plan.container_id = "c1";
  plan.bundle = "/b";
  plan.init_pid = 77;
  plan.shim_directory = "/s";
  plan.exec_processes = {"e1 (sh)"};
  ExpectRoundTrip(plan, CheckpointPlanFromJson);
  ExpectRoundTrip(Journal{.thaw = true,
                          .copies = true,
                          .checkpointer = {3, 4},
                          .criu = {5, 6},
                          .staging = "/x",
                          .staging_inode = 7,
                          .limits = {{CgroupLimit::Of::kMemory, "/sys/fs/cgroup/m", 8},
                                     {CgroupLimit::Of::kProcesses, "/sys/fs/cgroup/p", 9}},
                          .published = "/y"},
                  JournalFromJson);
}

TEST(MessagesTest, AnotherVersionIsRefused) {
  ShimConfig config = GoodConfig();
  for (int version : {0, -1, kVersion + 1}) {
    config.version = version;
    EXPECT_TRUE(absl::IsUnimplemented(ShimConfigFromJson(ToJson(config)).status())) << version;
  }
}

TEST(MessagesTest, AConfigWithAPathThatIsNoneIsRefused) {
  for (const char* field : {"bundle", "runtime", "runtime_root", "cgroup_path", "log_path", "criu"}) {
    for (const char* bad : {"relative", "/a/../b", "/.."}) {
      Json json = ToJson(GoodConfig());
      json[field] = bad;
      EXPECT_TRUE(absl::IsInvalidArgument(ShimConfigFromJson(json).status())) << field << " " << bad;
    }
  }
  Json json = ToJson(GoodConfig());
  for (const char* root : {"/", "//", "/."}) {
    json["cgroup_path"] = root;
    EXPECT_FALSE(ShimConfigFromJson(json).ok()) << root;
  }
}

TEST(MessagesTest, WrongTypesAndHostileNamesAreRefused) {
  EXPECT_FALSE(ShimConfigFromJson(Json::array()).ok());
  EXPECT_FALSE(ShimStateFromJson({{"version", kVersion}, {"execs", 5}}).ok());
  EXPECT_FALSE(ShimStateFromJson({{"version", kVersion}, {"started_at", "yesterday"}}).ok());
  for (const char* id : {"../x", "", "a/b", "init"}) {
    EXPECT_FALSE(ExecRequestFromJson({{"process", id}, {"spec", Json::object()}}).ok()) << id;
  }
  EXPECT_FALSE(ExecRequestFromJson({{"process", "e1"}, {"spec", "sh"}}).ok());
  EXPECT_FALSE(CheckpointRequestFromJson({{"name", "../x"}, {"directory", "/cp"}, {"store", "/s"}}).ok());
  EXPECT_FALSE(CheckpointRequestFromJson({{"name", "cp1"}, {"directory", "cp"}, {"store", "/s"}}).ok());
  EXPECT_FALSE(ShimEventFromJson({{"sequence", 0}, {"type", "exit"}}).ok());
  EXPECT_FALSE(ExitRecordFromJson({{"process", "init"}, {"status", 300}}).ok());
  EXPECT_FALSE(JournalFromJson({{"staging", "../../etc"}}).ok());
  EXPECT_FALSE(JournalFromJson({{"published", "etc"}}).ok());
  EXPECT_FALSE(AttachRequestFromJson({{"process", "a b"}}).ok());
}

}  // namespace
}  // namespace stasis::protocol
