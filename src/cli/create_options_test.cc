#include "cli/create_options.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "linux/files.h"

namespace stasis::cli {
namespace {

TEST(CreateOptionsTest, TheBodySaysWhatTheFlagsSay) {
  CreateOptions options;
  options.image = "busybox";
  options.command = {"echo", "hi"};
  options.interactive = true;
  options.remove = true;
  options.volumes = {"/a:/b:ro", "/anonymous"};
  options.publish = {"8080:80", "127.0.0.1::53/udp"};
  options.tmpfs = {"/scratch:size=1m", "/run"};
  options.memory = "64m";
  options.cpus = "1.5";
  options.pids_limit = 50;
  options.ulimits = {"nofile=10:20", "core=-1"};
  options.labels = {"k=v", "flag"};
  options.log_opts = {"max-size=10k"};
  options.entrypoint = "";
  options.network = "none";
  const auto body = CreateBody(options);
  ASSERT_TRUE(body.ok()) << body.status();
  EXPECT_EQ((*body)["Cmd"], Json({"echo", "hi"}));
  EXPECT_EQ((*body)["Entrypoint"], Json::array({""}));
  EXPECT_EQ((*body)["OpenStdin"], true);
  EXPECT_EQ((*body)["StdinOnce"], true);
  EXPECT_EQ((*body)["Labels"], Json({{"k", "v"}, {"flag", ""}}));
  EXPECT_TRUE((*body)["Volumes"].contains("/anonymous"));
  const Json& host = (*body)["HostConfig"];
  EXPECT_EQ(host["Binds"], Json::array({"/a:/b:ro"}));
  EXPECT_EQ(host["Tmpfs"], Json({{"/scratch", "size=1m"}, {"/run", ""}}));
  EXPECT_EQ(host["PortBindings"]["80/tcp"], Json::parse(R"([{"HostIp":"","HostPort":"8080"}])"));
  EXPECT_EQ(host["PortBindings"]["53/udp"], Json::parse(R"([{"HostIp":"127.0.0.1","HostPort":""}])"));
  EXPECT_EQ(host["Memory"], 64 << 20);
  EXPECT_EQ(host["NanoCpus"], 1'500'000'000);
  EXPECT_EQ(host["PidsLimit"], 50);
  EXPECT_EQ(host["Ulimits"][0], Json({{"Name", "nofile"}, {"Soft", 10}, {"Hard", 20}}));
  EXPECT_EQ(host["Ulimits"][1]["Hard"], -1);
  EXPECT_EQ(host["LogConfig"]["Config"]["max-size"], "10k");
  EXPECT_EQ(host["AutoRemove"], true);
  EXPECT_EQ(host["NetworkMode"], "none");
  EXPECT_EQ(host["RestartPolicy"]["Name"], "no");
}

TEST(CreateOptionsTest, WhatWasNotAskedIsLeftToTheImage) {
  CreateOptions options;
  options.image = "busybox";
  const auto body = CreateBody(options);
  ASSERT_TRUE(body.ok());
  for (const char* field : {"Cmd", "Entrypoint", "StopSignal", "StopTimeout"})
    EXPECT_FALSE(body->contains(field));
}

TEST(CreateOptionsTest, MalformedOptionsAreRefused) {
  for (auto spoil : {+[](CreateOptions& o) { o.memory = "much"; }, +[](CreateOptions& o) { o.cpus = "1x"; },
                     +[](CreateOptions& o) { o.ulimits = {"nofile"}; },
                     +[](CreateOptions& o) { o.ulimits = {"nofile=9:1"}; },
                     +[](CreateOptions& o) { o.mounts = {"type=bind,src=/a"}; },
                     +[](CreateOptions& o) { o.mounts = {"target=/b,colour=red"}; },
                     +[](CreateOptions& o) { o.restart = "always:3"; },
                     +[](CreateOptions& o) { o.security_opts = {"seccomp=/nonexistent"}; }}) {
    CreateOptions options;
    spoil(options);
    EXPECT_EQ(CreateBody(options).status().code(), StatusCode::kInvalidArgument);
  }
}

TEST(CreateOptionsTest, MountsAreRead) {
  EXPECT_EQ(*ParseMount("type=bind,source=/a,target=/b,readonly"),
            Json({{"Type", "bind"}, {"Source", "/a"}, {"Target", "/b"}, {"ReadOnly", true}}));
  EXPECT_EQ(*ParseMount("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1777"),
            Json({{"Type", "tmpfs"},
                  {"Target", "/t"},
                  {"TmpfsOptions", {{"SizeBytes", 1 << 20}, {"Mode", 01777}}}}));
}

TEST(CreateOptionsTest, UnconfinedSeccompPassesInBothForms) {
  for (const char* option : {"seccomp=unconfined", "seccomp:unconfined", "no-new-privileges"}) {
    CreateOptions options;
    options.security_opts = {option};
    EXPECT_EQ((*CreateBody(options))["HostConfig"]["SecurityOpt"], Json::array({option}));
  }
}

TEST(CreateOptionsTest, NamesAloneTakeOurEnvironment) {
  ::setenv("STASIS_TEST_OWN", "mine", 1);
  ::unsetenv("STASIS_TEST_NONE");
  EXPECT_EQ(*Environment({}, {"A=1", "STASIS_TEST_OWN", "STASIS_TEST_NONE"}),
            (std::vector<std::string>{"A=1", "STASIS_TEST_OWN=mine"}));
  ::unsetenv("STASIS_TEST_OWN");
}

TEST(CreateOptionsTest, EnvironmentFilesAreReadAsDockerReadsThem) {
  auto directory = TemporaryDirectory::Create("/tmp", "stasis-test-");
  ASSERT_TRUE(directory.ok());
  const std::string file = directory->path() + "/env";
  ASSERT_TRUE(WriteFileAtomically(file, "# a comment\n\n  A=1 2\r\nB=\nPATH\nSTASIS_TEST_NONE\n").ok());
  EXPECT_EQ(*Environment({file}, {"A=3"}),
            (std::vector<std::string>{"A=1 2", "B=", std::string("PATH=") + ::getenv("PATH"), "A=3"}));
  ASSERT_TRUE(WriteFileAtomically(file, "A B=1\n").ok());
  EXPECT_EQ(Message(Environment({file}, {}).status()), file + ": variable 'A B' contains whitespaces");
  ASSERT_TRUE(WriteFileAtomically(file, "=1\n").ok());
  EXPECT_EQ(Message(Environment({file}, {}).status()), file + ": no variable name on line '=1'");
  EXPECT_FALSE(Environment({directory->path() + "/none"}, {}).ok());
}

TEST(CreateOptionsTest, FiltersOfOneNameAreGathered) {
  EXPECT_EQ(*FiltersParameter({"label=a=b", "label=c", "status=exited"}),
            R"({"label":["a=b","c"],"status":["exited"]})");
  EXPECT_EQ(*FiltersParameter({}), "");
  EXPECT_FALSE(FiltersParameter({"label"}).ok());
}

}  // namespace
}  // namespace stasis::cli
