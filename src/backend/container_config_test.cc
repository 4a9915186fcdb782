#include "backend/container_config.h"

#include "gtest/gtest.h"

namespace stasis::backend {
namespace {

Json Parse(std::string_view text) { return *ParseJson(text); }

// What `docker run -it -m 64m --tmpfs /t:size=1m --ulimit nofile=5:6 --mount ... img sh` sends, shortened.
constexpr char kHostConfig[] = R"({"Binds":["/a:/b:ro"],"ContainerIDFile":"","LogConfig":{"Type":"json-file",
  "Config":{"max-size":"1m"}},"NetworkMode":"none","PortBindings":{},"RestartPolicy":{"Name":"on-failure",
  "MaximumRetryCount":3},"AutoRemove":false,"CapAdd":["NET_ADMIN"],"CapDrop":null,"Memory":67108864,"ConsoleSize":[24,80],
  "MemorySwappiness":-1,"NanoCpus":500000000,"PidsLimit":0,"Init":true,"Tmpfs":{"/t":"size=1m"},
  "Ulimits":[{"Name":"nofile","Soft":5,"Hard":6}],"Devices":[{"PathOnHost":"/dev/null","PathInContainer":"/dev/x",
  "CgroupPermissions":"rwm"}],"Mounts":[{"Type":"bind","Source":"/s","Target":"/d","ReadOnly":true,
  "BindOptions":{"Propagation":"rslave","CreateMountpoint":true,"NonRecursive":true}},{"Type":"tmpfs","Target":"/e",
  "TmpfsOptions":{"SizeBytes":4096,"Mode":448,"Options":[["exec"],["uid","7"]]}}],"OomKillDisable":true,
  "MaskedPaths":[],"ReadonlyPaths":["/proc/sys"],"Annotations":{"a":"b"},"Dns":["1.1.1.1"],"DnsSearch":["x"],
  "DnsOptions":["ndots:2"],"UsernsMode":"host","CpuCount":2,"BlkioWeightDevice":[{"Path":"/x","Weight":20}],"Sysctls":{"net.core.somaxconn":"1"},"Unknown":{"a":[1]}})";

TEST(ContainerConfigTest, EveryFieldIsRead) {
  StatusOr<ContainerConfig> config = ContainerConfigFromJson(Parse(R"({"Hostname":"h","User":"1:2","Tty":true,
    "OpenStdin":true,"Env":["A=b"],"Cmd":["sh","-c","x"],"Entrypoint":"/init","Image":"i","WorkingDir":"/w",
    "Labels":{"a":"b"},"StopSignal":"SIGINT","StopTimeout":5,"Volumes":{"/v":{}},"ExposedPorts":{"80/tcp":{}},
    "HostConfig":{"Memory":1},"Healthcheck":null})"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->hostname, "h");
  EXPECT_EQ(config->cmd, (std::vector<std::string>{"sh", "-c", "x"}));
  EXPECT_EQ(config->entrypoint, (std::vector<std::string>{"/init"}));
  EXPECT_EQ(config->labels.at("a"), "b");
  EXPECT_EQ(config->stop_timeout, 5);
  EXPECT_EQ(config->volumes, (std::vector<std::string>{"/v"}));
  EXPECT_EQ(config->exposed_ports, (std::vector<std::string>{"80/tcp"}));
}

TEST(ContainerConfigTest, AbsentAndEmptyCommandsDiffer) {
  EXPECT_FALSE(ContainerConfigFromJson(Parse(R"({"Cmd":null})"))->cmd.has_value());
  EXPECT_TRUE(ContainerConfigFromJson(Parse(R"({"Cmd":[]})"))->cmd->empty());
}

TEST(ContainerConfigTest, WhatWasWrittenReadsBackTheSame) {
  StatusOr<ContainerConfig> config = ContainerConfigFromJson(Parse(
      R"({"Image":"i","Env":["A=b"],"Cmd":[],"StopTimeout":-1,"Volumes":{"/v":{}},"Labels":{"x":""}})"));
  ASSERT_TRUE(config.ok()) << config.status();
  Json written = ToJson(*config);
  EXPECT_EQ(ToJson(*ContainerConfigFromJson(written)), written);
}

TEST(ContainerConfigTest, WrongTypesAreRefusedWithTheFieldsName) {
  for (const char* text : {R"({"Env":"A=b"})", R"({"Env":[1]})", R"({"Cmd":{}})", R"({"Labels":["a"]})",
                           R"({"Labels":{"a":1}})", R"({"Tty":"yes"})", R"({"StopTimeout":"5"})",
                           R"({"Volumes":["/v"]})", R"([])", R"({"Env":["=x"]})"}) {
    StatusOr<ContainerConfig> config = ContainerConfigFromJson(Parse(text));
    EXPECT_EQ(config.status().code(), StatusCode::kInvalidArgument) << text;
    EXPECT_FALSE(Message(config.status()).empty());
  }
}

TEST(HostConfigTest, EveryFieldIsRead) {
  StatusOr<HostConfig> config = HostConfigFromJson(Parse(kHostConfig));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->memory, 67108864);
  EXPECT_EQ(config->pids_limit, 0);
  EXPECT_EQ(config->memory_swappiness, std::nullopt);
  EXPECT_EQ(config->oom_kill_disable, true);
  EXPECT_EQ(config->masked_paths, std::vector<std::string>());
  EXPECT_EQ(config->annotations.at("a"), "b");
  EXPECT_EQ(config->dns_options, std::vector<std::string>{"ndots:2"});
  EXPECT_EQ(config->init, true);
  EXPECT_EQ(config->console_size.height, 24u);
  EXPECT_EQ(config->console_size.width, 80u);
  EXPECT_EQ(config->log_options.at("max-size"), "1m");
  EXPECT_EQ(config->restart_maximum, 3);
  EXPECT_EQ(config->tmpfs.at("/t"), "size=1m");
  ASSERT_EQ(config->mounts.size(), 2u);
  EXPECT_EQ(config->mounts[0].propagation, "rslave");
  EXPECT_TRUE(config->mounts[0].create_source);
  EXPECT_TRUE(config->mounts[0].non_recursive);
  EXPECT_EQ(config->mounts[1].tmpfs_mode, 0700u);
  EXPECT_EQ(config->mounts[1].tmpfs_options.at(1), (std::vector<std::string>{"uid", "7"}));
  EXPECT_EQ(config->ulimits.at(0).hard, 6);
  EXPECT_EQ(config->devices.at(0).path_in_container, "/dev/x");
}

TEST(HostConfigTest, WhatWasWrittenReadsBackTheSame) {
  StatusOr<HostConfig> config = HostConfigFromJson(Parse(kHostConfig));
  ASSERT_TRUE(config.ok()) << config.status();
  Json written = ToJson(*config);
  StatusOr<HostConfig> again = HostConfigFromJson(written);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(ToJson(*again), written);
  EXPECT_TRUE(HostConfigFromJson(ToJson(HostConfig())).ok());
}

TEST(HostConfigTest, WhatDecidesNothingIsKeptAsItWasSent) {
  const Json written = ToJson(*HostConfigFromJson(Parse(kHostConfig)));
  EXPECT_EQ(written["UsernsMode"], "host");
  EXPECT_EQ(written["CpuCount"], 2);
  EXPECT_EQ(written["BlkioWeightDevice"][0]["Weight"], 20);
  EXPECT_FALSE(written.contains("StorageOpt"));
  const Json nothing = ToJson(HostConfig());
  EXPECT_EQ(nothing["CpuCount"], 0);
  EXPECT_TRUE(nothing["Dns"].is_null());
  const Json config = ToJson(*ContainerConfigFromJson(
      Parse(R"({"MacAddress":"02:42:ac:11:00:02","Healthcheck":{"Test":["NONE"]},"Shell":["/bin/sh"]})")));
  EXPECT_EQ(config["MacAddress"], "02:42:ac:11:00:02");
  EXPECT_EQ(config["Healthcheck"]["Test"][0], "NONE");
  EXPECT_EQ(config["Shell"][0], "/bin/sh");
}

TEST(HostConfigTest, WrongValuesAreRefused) {
  for (const char* text :
       {R"({"Memory":"64m"})", R"({"MaskedPaths":"/proc"})", R"({"Annotations":["a"]})",
        R"({"CpuCount":"2"})",
        R"({"Mounts":[{"Type":"bind","Source":"/a","Target":"/b","TmpfsOptions":{}}]})",
        R"({"Mounts":[{"Type":"tmpfs","Target":"/b","TmpfsOptions":{"Options":["x"]}}]})",
        R"({"Mounts":[{"Type":"npipe","Target":"/a"}]})",
        R"({"Mounts":[{"Type":"bind","Source":"rel","Target":"/a"}]})",
        R"({"Mounts":[{"Type":"tmpfs","Target":"a"}]})", R"({"Mounts":{}})",
        R"({"Ulimits":[{"Name":"files","Soft":1,"Hard":1}]})",
        R"({"Ulimits":[{"Name":"nofile","Soft":2,"Hard":1}]})", R"({"Devices":[{"CgroupPermissions":"x"}]})",
        R"({"Tmpfs":["/t"]})", R"({"PortBindings":[]})", R"({"ConsoleSize":[24]})",
        R"({"ConsoleSize":[24,-1]})", R"({"PidsLimit":1e300})"}) {
    StatusOr<HostConfig> config = HostConfigFromJson(Parse(text));
    EXPECT_EQ(config.status().code(), StatusCode::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace stasis::backend
