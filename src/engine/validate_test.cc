#include "engine/validate.h"

#include <functional>

#include "engine/security_options.h"
#include "gtest/gtest.h"

namespace stasis::engine {
namespace {

class ValidateTest : public testing::Test {
 protected:
  std::string Verdict() const { return Message(ValidateContainer(config_, host_, machine_)); }
  backend::ContainerConfig config_;
  backend::HostConfig host_;
  Host machine_ = {.limits = {},
                   .cpus = 2,
                   .cpuset_cpus = "0-1",
                   .cpuset_mems = "0",
                   .name = {},
                   .kernel = {},
                   .operating_system = {},
                   .architecture = {}};
};

TEST_F(ValidateTest, AnEmptyContainerIsFine) { EXPECT_EQ(Verdict(), ""); }

TEST_F(ValidateTest, MemoryIsCheckedAsDockerDoes) {
  host_.memory = 1 << 20;
  EXPECT_EQ(Verdict(), "Minimum memory limit allowed is 6MB");
  host_.memory = 64 << 20;
  host_.memory_swap = 32 << 20;
  EXPECT_EQ(Verdict(), "Minimum memoryswap limit should be larger than memory limit, see usage");
  host_.memory_swap = -1;
  EXPECT_EQ(Verdict(), "");
}

TEST_F(ValidateTest, EveryLimitOfAResourceIsToldInDockersWords) {
  using Config = backend::HostConfig;
  const auto verdict = [&](const std::function<void(Config*)>& change) {
    host_ = {};
    change(&host_);
    return Verdict();
  };
  EXPECT_EQ(verdict([](Config* host) { host->memory = -5; }), "Minimum memory limit allowed is 6MB");
  EXPECT_EQ(verdict([](Config* host) { host->memory_swap = -2; }), "invalid memory swap limit: -2");
  EXPECT_EQ(verdict([](Config* host) { host->memory_swap = 100; }),
            "You should always set the Memory limit when using Memoryswap limit, see usage");
  EXPECT_EQ(verdict([](Config* host) { host->memory_reservation = -1; }),
            "Minimum memory reservation allowed is 6MB");
  EXPECT_EQ(verdict([](Config* host) {
              host->memory = 8 << 20;
              host->memory_reservation = 16 << 20;
            }),
            "Minimum memory limit can not be less than memory reservation limit, see usage");
  EXPECT_EQ(verdict([](Config* host) { host->shm_size = -1; }), "SHM size can not be less than 0");
  EXPECT_EQ(verdict([](Config* host) { host->oom_score_adj = 2000; }),
            "Invalid value 2000, range for oom score adj is [-1000, 1000]");
  EXPECT_EQ(verdict([](Config* host) { host->nano_cpus = -1; }),
            "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available");
  EXPECT_EQ(verdict([](Config* host) { host->nano_cpus = host->cpu_period = 5000; }),
            "Conflicting options: Nano CPUs and CPU Period cannot both be set");
  EXPECT_EQ(verdict([](Config* host) { host->nano_cpus = host->cpu_quota = 5000; }),
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set");
  EXPECT_EQ(verdict([](Config* host) { host->cpu_shares = -1; }),
            "invalid CPU shares (-1): value must be a positive integer");
  EXPECT_EQ(verdict([](Config* host) { host->cpu_period = 1; }),
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
  EXPECT_EQ(verdict([](Config* host) { host->cpu_quota = 999; }),
            "CPU cfs quota can not be less than 1ms (i.e. 1000)");
  EXPECT_EQ(verdict([](Config* host) { host->cpu_quota = -1; }), "");
}

TEST_F(ValidateTest, CpusAreThoseOfTheMachine) {
  host_.nano_cpus = 3'000'000'000;
  EXPECT_EQ(Verdict(), "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available");
}

TEST_F(ValidateTest, ShareAndSetsOfCpusAreCheckedAtCreate) {
  host_.cpu_shares = 1;
  EXPECT_EQ(Verdict(), "The minimum allowed cpu-shares is 2");
  host_.cpu_shares = 262145;
  EXPECT_EQ(Verdict(), "The maximum allowed cpu-shares is 262144");
  host_.cpu_shares = 2;
  host_.cpuset_cpus = "2";
  EXPECT_EQ(Verdict(), "Requested CPUs are not available - requested 2, available: 0-1");
  host_.cpuset_cpus = "1";
  host_.cpuset_mems = "1";
  EXPECT_EQ(Verdict(), "Requested memory nodes are not available - requested 1, available: 0");
  host_.cpuset_mems = "0";
  host_.memory_swappiness = 101;
  EXPECT_EQ(Verdict(), "Invalid value: 101, valid memory swappiness range is 0-100");
}

TEST_F(ValidateTest, AHealthchecksParametersAreChecked) {
  config_.kept["Healthcheck"] = {{"Test", {"CMD", "true"}}, {"Interval", 1'000'000}, {"Retries", 3}};
  EXPECT_EQ(Verdict(), "");
  config_.kept["Healthcheck"]["Interval"] = 5;
  EXPECT_EQ(Verdict(), "Interval in Healthcheck cannot be less than 1ms");
  config_.kept["Healthcheck"] = {{"Retries", -1}};
  EXPECT_EQ(Verdict(), "Retries in Healthcheck cannot be negative");
  config_.kept["Healthcheck"] = {{"Test", "true"}};
  EXPECT_NE(Verdict(), "");
}

TEST_F(ValidateTest, ARestartPolicyIsCheckedInDockersWords) {
  host_.restart_policy = "sometimes";
  EXPECT_NE(Verdict(), "");
  host_.restart_policy = "always";
  host_.restart_maximum = 2;
  EXPECT_EQ(Verdict(),
            "invalid restart policy: maximum retry count cannot be used with restart policy 'always'");
  host_.restart_maximum = 0;
  host_.auto_remove = true;
  EXPECT_EQ(Verdict(), "can't create 'AutoRemove' container with restart policy");
}

TEST(ValidateNetworkTest, WhoJoinsAnothersNetworkHasItsNames) {
  backend::CreateRequest request;
  request.host_config.network_mode = "container:web";
  EXPECT_TRUE(ValidateNetwork(request).ok());
  const auto refused = [&](auto change) {
    backend::CreateRequest changed = request;
    change(changed);
    return Message(ValidateNetwork(changed));
  };
  EXPECT_EQ(refused([](auto& r) { r.config.hostname = "h"; }),
            "conflicting options: hostname and the network mode");
  EXPECT_EQ(refused([](auto& r) { r.host_config.dns = {"1.1.1.1"}; }),
            "conflicting options: dns and the network mode");
  EXPECT_EQ(refused([](auto& r) { r.host_config.extra_hosts = {"a:1.1.1.1"}; }),
            "conflicting options: custom host-to-IP mapping and the network mode");
  EXPECT_EQ(refused([](auto& r) { r.host_config.port_bindings["80/tcp"] = Json::array(); }),
            "conflicting options: port publishing and the container type network mode");
  EXPECT_EQ(refused([](auto& r) { r.config.exposed_ports = {"80/tcp"}; }),
            "conflicting options: port exposing and the container type network mode");
  EXPECT_EQ(refused([](auto& r) { r.config.kept["MacAddress"] = "02:42:ac:11:00:02"; }),
            "conflicting options: mac-address and the network mode");
  request.host_config.network_mode = "mine";
  EXPECT_FALSE(ValidateNetwork(request).ok());
}

TEST_F(ValidateTest, UnknownCapabilitiesAreNamed) {
  host_.cap_add = {"FLY"};
  EXPECT_EQ(Verdict(), "invalid CapAdd: unknown capability: \"CAP_FLY\"");
}

TEST_F(ValidateTest, WhatIsNotThereYetIsSaid) {
  host_.port_bindings = {{"80/tcp", {{{"HostPort", "8080"}}}}};
  EXPECT_EQ(ValidateContainer(config_, host_, machine_).code(), StatusCode::kUnimplemented);
}

TEST_F(ValidateTest, NamesOfPlacesAreChecked) {
  config_.working_dir = "work";
  EXPECT_EQ(Verdict(), "the working directory 'work' is invalid, it needs to be an absolute path");
  config_.working_dir = "\x1b[2J";
  EXPECT_EQ(Verdict(), "the working directory '\\x1b[2J' is invalid, it needs to be an absolute path");
  config_.working_dir = "";
  config_.hostname = "a b";
  EXPECT_EQ(Verdict(), "invalid hostname format: a b");
  config_.hostname = "";
  config_.labels = {{"a", std::string(70'000, 'x')}};
  EXPECT_EQ(Verdict(), "labels: 70001 bytes in all, at most 65536 are allowed");
  config_.labels = {};
  config_.env = {"=x"};
  EXPECT_EQ(Verdict(), "invalid environment variable: =x");
}

TEST(ParseLogOptionsTest, SizesAndCountsAreRead) {
  backend::HostConfig host;
  host.log_options = {{"max-size", "10m"}, {"max-file", "3"}};
  const auto rotation = ParseLogOptions(host);
  ASSERT_TRUE(rotation.ok());
  EXPECT_EQ(rotation->max_size, 10u << 20);
  EXPECT_EQ(rotation->max_files, 3u);
  host.log_options = {{"colour", "red"}};
  EXPECT_EQ(Message(ParseLogOptions(host).status()), "unknown log opt 'colour' for json-file log driver");
  host.log_options = {{"max-file", "0"}};
  EXPECT_EQ(Message(ParseLogOptions(host).status()),
            "failed to initialize logging driver: max-file cannot be less than 1");
}

TEST(ParseLogOptionsTest, LocalIsJsonFileWithItsOwnDefaults) {
  backend::HostConfig host;
  host.log_driver = "local";
  EXPECT_EQ(ParseLogOptions(host)->max_size, 20u << 20);
  EXPECT_EQ(ParseLogOptions(host)->max_files, 5u);
  host.log_options = {{"max-file", "2"}, {"compress", "false"}};
  EXPECT_EQ(ParseLogOptions(host)->max_files, 2u);
  host.log_options = {{"tag", "x"}};
  EXPECT_EQ(Message(ParseLogOptions(host).status()), "unknown log opt 'tag' for local log driver");
}

TEST(ParseSizeTest, UnitsAreBinary) {
  EXPECT_EQ(*ParseSize("512"), 512u);
  EXPECT_EQ(*ParseSize("1.5k"), 1536u);
  EXPECT_EQ(*ParseSize("2 MiB"), 2u << 20);
  EXPECT_EQ(*ParseSize("1gb"), 1u << 30);
  for (const char* text : {"", "m", "-1", "1x", "1mx", "1e30p"}) EXPECT_FALSE(ParseSize(text).ok()) << text;
}

TEST(ParseSecurityOptionsTest, BothSeparatorsAreUnderstood) {
  EXPECT_EQ(ParseSecurityOptions({"seccomp:unconfined"})->seccomp, oci::SeccompMode::kUnconfined);
  EXPECT_EQ(ParseSecurityOptions({"seccomp=unconfined"})->seccomp, oci::SeccompMode::kUnconfined);
  EXPECT_TRUE(ParseSecurityOptions({"no-new-privileges"})->no_new_privileges);
  EXPECT_FALSE(ParseSecurityOptions({"no-new-privileges:false"})->no_new_privileges);
  const auto custom = ParseSecurityOptions({"seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}"});
  ASSERT_TRUE(custom.ok());
  EXPECT_EQ(custom->seccomp, oci::SeccompMode::kCustom);
}

TEST(ParseSecurityOptionsTest, NonsenseIsRefused) {
  EXPECT_FALSE(ParseSecurityOptions({"nonsense"}).ok());
  EXPECT_FALSE(ParseSecurityOptions({"nonsense=1"}).ok());
  EXPECT_FALSE(ParseSecurityOptions({"seccomp=/no/json"}).ok());
}

}  // namespace
}  // namespace stasis::engine
