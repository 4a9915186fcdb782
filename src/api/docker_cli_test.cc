// The stock docker CLI against our HTTP layer and an engine in memory.
#include "api/test_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "linux/subprocess.h"

namespace stasis::api {
namespace {

using testing::HasSubstr;

constexpr char kDocker[] = "/usr/local/bin/docker";

class DockerCliTest : public ServerTest {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kDocker)) GTEST_SKIP() << "no docker CLI at " << kDocker;
    Start();
  }

  // stdout, then stderr, then "exit N".
  std::string Docker(std::vector<std::string> arguments, std::string input = "") {
    Command command;
    command.argv = {kDocker, "-H", "unix://" + path_};
    command.argv.insert(command.argv.end(), arguments.begin(), arguments.end());
    command.env = BaseEnvironment({{"HOME", directory_}, {"DOCKER_CONFIG", directory_}});
    command.input = std::move(input);
    RunLimits limits;
    limits.deadline = After(std::chrono::seconds(20));
    StatusOr<CommandResult> result = stasis::Run(command, limits);
    if (!result.ok()) return "cannot run: " + Message(result.status());
    return result->output + result->error_tail + "exit " + std::to_string(result->exit.code);
  }
};

TEST_F(DockerCliTest, VersionAndInfoArePrinted) {
  std::string version = Docker({"version"});
  EXPECT_THAT(version, HasSubstr("Server: Stasis"));
  EXPECT_THAT(version, HasSubstr("1.47 (minimum version 1.22)"));
  EXPECT_THAT(version, HasSubstr("exit 0"));
  std::string info = Docker({"info"});
  EXPECT_THAT(info, HasSubstr("Storage Driver: overlay2"));
  EXPECT_THAT(info, testing::Not(HasSubstr("WARNING")));
  EXPECT_THAT(info, HasSubstr("exit 0"));
}

TEST_F(DockerCliTest, ContainersAreListedAndInspected) {
  EXPECT_THAT(Docker({"ps"}), HasSubstr("Up 3 seconds"));
  EXPECT_THAT(
      Docker({"inspect", "c1", "--format", "{{.State.Status}} {{.HostConfig.NetworkMode}} {{.Name}}"}),
      HasSubstr("running none /c1"));
  EXPECT_THAT(Docker({"inspect", "c9"}), HasSubstr("exit 1"));
  EXPECT_THAT(Docker({"images"}), HasSubstr("img"));
}

TEST_F(DockerCliTest, EventsAreStreamed) {
  EXPECT_THAT(Docker({"events", "--since", "0", "--until", "1"}), HasSubstr("container start aaaa"));
}

TEST_F(DockerCliTest, ExecCarriesStdinOutputAndExitCode) {
  std::string out = Docker({"exec", "-i", "c1", "cat"}, "hello\n");
  EXPECT_THAT(out, HasSubstr("hello\n"));
  EXPECT_THAT(out, HasSubstr("bye\n"));
  EXPECT_THAT(out, HasSubstr("exit 7"));
  std::string missing = Docker({"exec", "c1", "nosuch"});
  EXPECT_THAT(missing, HasSubstr("executable file not found"));
  EXPECT_THAT(missing, HasSubstr("exit 127"));
}

TEST_F(DockerCliTest, AttachCarriesStdinAndOutput) {
  engine_.exit_now.Open();
  std::string out = Docker({"attach", "c1"}, "hello\n");
  EXPECT_THAT(out, HasSubstr("hello\n"));
  EXPECT_THAT(out, HasSubstr("exit 7"));
}

TEST_F(DockerCliTest, LogsWaitKillAndCheckpointsWork) {
  EXPECT_THAT(Docker({"logs", "c1"}), HasSubstr("out\nerr\n"));
  engine_.exit_now.Open();
  EXPECT_THAT(Docker({"wait", "c1"}), HasSubstr("7\n"));
  EXPECT_THAT(Docker({"kill", "c1"}), HasSubstr("exit 0"));
  EXPECT_THAT(Docker({"stop", "c1"}), HasSubstr("exit 0"));
  engine_.checkpoint_may_end.Open();
  EXPECT_THAT(Docker({"checkpoint", "create", "c1", "cp1"}), HasSubstr("cp1\n"));
  EXPECT_TRUE(engine_.checkpoint.get().exit);
  engine_.checkpoint_warnings = std::vector<std::string>{"it is lost"};
  EXPECT_THAT(Docker({"checkpoint", "create", "c1", "cp1"}), HasSubstr("cp1\n")) << "an answer with a body";
  EXPECT_THAT(Docker({"checkpoint", "ls", "c1"}), HasSubstr("cp2"));
  EXPECT_THAT(Docker({"checkpoint", "rm", "c1", "cp9"}), HasSubstr("does not exist"));
  EXPECT_THAT(Docker({"start", "--checkpoint", "cp1", "--checkpoint-dir", "/d", "c1"}), HasSubstr("exit 0"));
  EXPECT_EQ(engine_.started_from.get(), "cp1@/d");
}

TEST_F(DockerCliTest, LoadAndImportAndRemovalPrintWhatHappened) {
  EXPECT_THAT(Docker({"load"}, std::string(300000, 'z')), HasSubstr("Loaded image: 300000\n"));
  EXPECT_THAT(Docker({"load"}, "POISON"), HasSubstr("bad archive"));
  EXPECT_THAT(Docker({"import", "-c", "CMD a", "-", "repo:tag"}, "x"), HasSubstr("sha256:repo:tag/1\n"));
  EXPECT_THAT(Docker({"import", "--platform", "linux/arm64", "-", "repo:tag"}, "x"),
              HasSubstr("sha256:repo:tag/0linux/arm64\n"));
  EXPECT_THAT(Docker({"rmi", "img"}), HasSubstr("Deleted: sha256:x"));
  EXPECT_THAT(Docker({"network", "create", "n"}),
              HasSubstr("docker network is not implemented by Stasis yet"));
  EXPECT_THAT(Docker({"pull", "busybox"}), HasSubstr("pulling images is not implemented"));
}

TEST_F(DockerCliTest, RunSendsItsConfiguration) {
  engine_.exit_now.Open();
  std::string out =
      Docker({"run", "-i", "--rm", "-e", "A=b", "--memory", "64m", "--name", "n", "img", "cat"}, "hi\n");
  EXPECT_THAT(out, HasSubstr("hi\n"));
  EXPECT_THAT(out, HasSubstr("exit 7"));
  EXPECT_EQ(engine_.created.get().host_config.memory, 64 << 20);
  EXPECT_TRUE(engine_.created.get().host_config.auto_remove);
  EXPECT_EQ(engine_.created.get().config.cmd, (std::vector<std::string>{"cat"}));
}

// docker-py, which reads other fields than the CLI does. Its exec is left to the real stack: it loses bytes
// that come together with the answer's head, as they do from a fake.
constexpr char kDockerPy[] = R"(
import docker, sys
client = docker.DockerClient(base_url="unix://" + sys.argv[1])
assert client.ping() and client.version()["ApiVersion"] == "1.47"
assert client.info()["ServerVersion"] == "0.1"
container = client.containers.list()[0]
assert container.name == "c1" and container.status == "running", container.attrs
assert container.logs() == b"out\nerr\n", container.logs()
assert client.api.wait("c1")["StatusCode"] == 7
assert [e["status"] for e in client.events(since=0, until=1, decode=True)] == ["start"]
for line in client.api.load_image(b"z" * 100000): print(line)
try:
    client.containers.get("c9")
except docker.errors.NotFound as error:
    print(error.explanation)
)";

TEST_F(DockerCliTest, DockerPyReadsItsAnswers) {
  engine_.exit_now.Open();
  Command command;
  command.argv = {"/usr/bin/python3", "-c", kDockerPy, path_};
  command.env = BaseEnvironment({{"HOME", directory_}});
  RunLimits limits;
  limits.deadline = After(std::chrono::seconds(30));
  StatusOr<CommandResult> result = stasis::Run(command, limits);
  if (!result.ok() || result->error_tail.find("No module named 'docker'") != std::string::npos) {
    GTEST_SKIP() << "no python3 with docker-py";
  }
  EXPECT_EQ(result->exit.code, 0) << result->error_tail;
  EXPECT_THAT(result->output, HasSubstr("Loaded image: 100000"));
  EXPECT_THAT(result->output, HasSubstr("No such container: c9"));
}

}  // namespace
}  // namespace stasis::api
