#include "engine/validate.h"

#include "engine/security_options.h"
#include "gtest/gtest.h"

namespace stasis::engine {
namespace {

class ValidateTest : public testing::Test {
 protected:
  std::string Verdict() const { return Message(ValidateContainer(config_, host_, 2)); }
  backend::ContainerConfig config_;
  backend::HostConfig host_;
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

TEST_F(ValidateTest, CpusAreThoseOfTheMachine) {
  host_.nano_cpus = 3'000'000'000;
  EXPECT_EQ(Verdict(), "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available");
}

TEST_F(ValidateTest, UnknownCapabilitiesAreNamed) {
  host_.cap_add = {"FLY"};
  EXPECT_EQ(Verdict(), "invalid CapAdd: unknown capability: \"CAP_FLY\"");
}

TEST_F(ValidateTest, WhatIsNotThereYetIsSaid) {
  host_.port_bindings = {{"80/tcp", {{{"HostPort", "8080"}}}}};
  EXPECT_EQ(ValidateContainer(config_, host_, 2).code(), StatusCode::kUnimplemented);
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
  EXPECT_FALSE(ParseLogOptions(host).ok());
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
