#include "oci/spec_builder.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "oci/capabilities.h"

namespace stasis::oci {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

HostLimits Host() {
  HostLimits host;
  host.capabilities = AllCapabilities();
  host.kernel_major = 6;
  return host;
}

SpecOptions Options() {
  SpecOptions options;
  options.root_path = "/var/lib/stasis/roots/x/merged";
  options.process.args = {"sh", "-c", "true"};
  options.hostname = "c1";
  options.network = {NamespaceOptions::Kind::kPath, "/run/stasis/net/x"};
  return options;
}

Json Build(const SpecOptions& options, const HostLimits& host = Host()) {
  StatusOr<Json> spec = BuildSpec(options, host);
  EXPECT_TRUE(spec.ok()) << Message(spec.status());
  return spec.ok() ? *spec : Json();
}

const Json* FindMount(const Json& spec, const std::string& destination) {
  for (const Json& mount : spec["mounts"]) {
    if (mount["destination"] == destination) return &mount;
  }
  return nullptr;
}

std::string Refusal(const SpecOptions& options) {
  StatusOr<Json> spec = BuildSpec(options, Host());
  EXPECT_EQ(spec.status().code(), StatusCode::kInvalidArgument);
  return Message(spec.status());
}

TEST(SpecBuilderTest, AContainerGetsDockersDefaults) {
  Json spec = Build(Options());
  EXPECT_EQ(spec["root"]["path"], "/var/lib/stasis/roots/x/merged");
  EXPECT_EQ(spec["hostname"], "c1");
  EXPECT_EQ(spec["process"]["capabilities"]["effective"].size(), 14u);
  EXPECT_EQ(spec["linux"]["maskedPaths"].size(), 12u);
  EXPECT_THAT(spec["linux"]["readonlyPaths"], Contains("/proc/sys"));
  EXPECT_EQ(spec["linux"]["seccomp"]["defaultAction"], "SCMP_ACT_ERRNO");
  EXPECT_THAT((*FindMount(spec, "/dev/shm"))["options"], Contains("size=67108864"));
  EXPECT_THAT((*FindMount(spec, "/sys"))["options"], Contains("ro"));
  std::vector<std::string> types;
  for (const Json& ns : spec["linux"]["namespaces"]) types.push_back(ns["type"]);
  EXPECT_THAT(types, ElementsAre("mount", "network", "uts", "pid", "ipc"));
  EXPECT_EQ(spec["linux"]["namespaces"][1]["path"], "/run/stasis/net/x");
}

TEST(SpecBuilderTest, PrivilegedLiftsAllButWhatTheEngineItselfLacks) {
  SpecOptions options = Options();
  options.process.privileged = true;
  HostLimits host = Host();
  std::erase(host.capabilities, "CAP_SYS_RESOURCE");
  Json spec = Build(options, host);
  EXPECT_EQ(spec["process"]["capabilities"]["bounding"].size(), AllCapabilities().size() - 1);
  EXPECT_THAT(spec["process"]["capabilities"]["bounding"], Not(Contains("CAP_SYS_RESOURCE")));
  EXPECT_FALSE(spec["linux"].contains("seccomp"));
  EXPECT_FALSE(spec["linux"].contains("maskedPaths"));
  EXPECT_THAT((*FindMount(spec, "/sys"))["options"], Not(Contains("ro")));
  EXPECT_EQ(spec["linux"]["resources"]["devices"], Json::parse(R"([{"allow":true,"access":"rwm"}])"));
}

TEST(SpecBuilderTest, AnotherUserHasCapabilitiesInItsBoundingSetOnly) {
  SpecOptions options = Options();
  options.process.uid = 1000;
  options.process.additional_gids = {4, 27};
  Json process = Build(options)["process"];
  EXPECT_EQ(process["capabilities"]["bounding"].size(), 14u);
  EXPECT_FALSE(process["capabilities"].contains("effective"));
  EXPECT_THAT(process["user"]["additionalGids"], ElementsAre(4, 27));
}

TEST(SpecBuilderTest, ReadonlyRootKeepsDevAndProcWritable) {
  SpecOptions options = Options();
  options.readonly_root = true;
  Json spec = Build(options);
  EXPECT_EQ(spec["root"]["readonly"], true);
  EXPECT_THAT((*FindMount(spec, "/dev"))["options"], Not(Contains("ro")));
  EXPECT_THAT((*FindMount(spec, "/proc"))["options"], Not(Contains("ro")));
}

TEST(SpecBuilderTest, OwnMountsTakeTheDefaultOnesPlaceAndComeLast) {
  SpecOptions options = Options();
  options.mounts = {{"/host/shm", "/dev/shm", "bind", {"rbind", "rw", "rshared"}},
                    {"tmpfs", "/t", "tmpfs", {}}};
  Json spec = Build(options);
  EXPECT_EQ((*FindMount(spec, "/dev/shm"))["source"], "/host/shm");
  EXPECT_EQ(spec["mounts"].back()["destination"], "/t");
  EXPECT_EQ(spec["linux"]["rootfsPropagation"], "shared");
  options.mounts = {{"/dev", "/dev", "bind", {"rbind"}}};
  spec = Build(options);
  EXPECT_EQ(FindMount(spec, "/dev/pts"), nullptr);
}

TEST(SpecBuilderTest, ResourcesAreInTheUnitsOfTheRuntime) {
  SpecOptions options = Options();
  options.resources.memory = 32 << 20;
  options.resources.nano_cpus = 1'500'000'000;
  options.resources.pids_limit = 20;
  Json resources = Build(options)["linux"]["resources"];
  EXPECT_EQ(resources["memory"]["limit"], 32 << 20);
  EXPECT_EQ(resources["memory"]["swap"], 64 << 20);
  EXPECT_EQ(resources["cpu"]["quota"], 150'000);
  EXPECT_EQ(resources["cpu"]["period"], 100'000);
  EXPECT_EQ(resources["pids"]["limit"], 20);
  options.resources.pids_limit = -1;
  EXPECT_FALSE(Build(options)["linux"]["resources"].contains("pids"));
  options.resources.cpu_quota = 1;
  EXPECT_THAT(Refusal(options), HasSubstr("Conflicting options"));
}

TEST(SpecBuilderTest, ShmAndTheCgroupsMemoryAreAsAsked) {
  SpecOptions options = Options();
  options.no_shm = true;
  options.resources.memory_swappiness = 0;
  options.resources.oom_kill_disable = true;
  options.annotations = {{"a", "b"}};
  const Json spec = Build(options);
  EXPECT_EQ(FindMount(spec, "/dev/shm"), nullptr);
  EXPECT_EQ(spec["linux"]["resources"]["memory"]["swappiness"], 0);
  EXPECT_EQ(spec["linux"]["resources"]["memory"]["disableOOMKiller"], true);
  EXPECT_EQ(spec["annotations"]["a"], "b");
  options.masked_paths = {{"proc/keys"}};
  EXPECT_THAT(Refusal(options), HasSubstr("MaskedPaths"));
}

TEST(SpecBuilderTest, OnlyBindsDecideTheRootsPropagation) {
  SpecOptions options = Options();
  options.mounts = {{"tmpfs", "/t", "tmpfs", {"shared"}}};
  EXPECT_EQ(Build(options)["linux"]["rootfsPropagation"], "rprivate");
  options.mounts.push_back({"/s", "/b", "bind", {"rbind", "rslave"}});
  EXPECT_EQ(Build(options)["linux"]["rootfsPropagation"], "rslave");
}

TEST(SpecBuilderTest, LimitsAreClampedToTheEnginesOwn) {
  SpecOptions options = Options();
  options.process.rlimits = {{"nofile", 1'048'576, 1'048'576}, {"RLIMIT_CORE", 0, 5}};
  options.process.oom_score_adj = -500;
  HostLimits host = Host();
  host.rlimits = {{"RLIMIT_NOFILE", 20'000}};
  host.lowest_oom_score_adj = 0;
  Json process = Build(options, host)["process"];
  EXPECT_EQ(process["rlimits"][0], Json::parse(R"({"type":"RLIMIT_NOFILE","soft":20000,"hard":20000})"));
  EXPECT_EQ(process["rlimits"][1], Json::parse(R"({"type":"RLIMIT_CORE","soft":0,"hard":5})"));
  EXPECT_EQ(process["oomScoreAdj"], 0);
}

TEST(SpecBuilderTest, WrongOptionsAreNamed) {
  SpecOptions options = Options();
  options.process.args.clear();
  EXPECT_EQ(Refusal(options), "no command specified");
  options = Options();
  options.process.env = {std::string("A=\0B", 4)};
  EXPECT_THAT(Refusal(options), HasSubstr("environment: a NUL byte"));
  options = Options();
  options.process.cwd = "work";
  EXPECT_THAT(Refusal(options), HasSubstr("absolute path"));
  options.process.cwd = "\x1b[2J";  // an image says it, an operator reads it
  EXPECT_THAT(Refusal(options), HasSubstr("'\\x1b[2J'"));
  options = Options();
  options.process.cap_add = {"flying"};
  EXPECT_EQ(Refusal(options), "invalid CapAdd: unknown capability: \"CAP_FLYING\"");
  options = Options();
  options.process.rlimits = {{"wings", 1, 1}};
  EXPECT_EQ(Refusal(options), "invalid ulimit type: wings");
}

TEST(SpecBuilderTest, TheHostsNamespacesAreNotListed) {
  SpecOptions options = Options();
  options.network.kind = options.pid.kind = options.ipc.kind = options.uts.kind =
      NamespaceOptions::Kind::kHost;
  Json spec = Build(options);
  EXPECT_EQ(spec["linux"]["namespaces"].size(), 1u);
  EXPECT_FALSE(spec.contains("hostname"));
  EXPECT_EQ((*FindMount(spec, "/dev/shm"))["type"], "bind");
  EXPECT_EQ((*FindMount(spec, "/dev/mqueue"))["type"], "mqueue") << "the host may have none mounted";
  options.bind_mqueue = true;
  EXPECT_EQ((*FindMount(Build(options), "/dev/mqueue"))["source"], "/dev/mqueue");
  options.ipc.kind = NamespaceOptions::Kind::kPrivate;
  EXPECT_EQ((*FindMount(Build(options), "/dev/mqueue"))["type"], "mqueue");
}

TEST(ContainerEnvironmentTest, LaterEntriesWinAndABareNameTakesOneOut) {
  EXPECT_THAT(ContainerEnvironment({"A=1", "PATH=/bin", "A=2", "HOME"}, "c1", true, "/root"),
              ElementsAre("PATH=/bin", "HOSTNAME=c1", "TERM=xterm", "A=2"));
  EXPECT_THAT(ContainerEnvironment({"B=1", "PATH", "C=", "B", "B=2=3", "none"}, "", false, ""),
              ElementsAre("C=", "B=2=3"));
}

TEST(CapabilitiesTest, AddAndDropFollowDocker) {
  const std::vector<std::string>& all = AllCapabilities();
  EXPECT_THAT(*ContainerCapabilities({"net_admin"}, {"ALL"}, false, all), ElementsAre("CAP_NET_ADMIN"));
  EXPECT_EQ(ContainerCapabilities({"ALL"}, {"CHOWN"}, false, all)->size(), all.size() - 1);
  EXPECT_THAT(*ContainerCapabilities({}, {"CAP_KILL"}, false, all), Not(Contains("CAP_KILL")));
  EXPECT_THAT(CapabilitiesFromMask(0x21), ElementsAre("CAP_CHOWN", "CAP_KILL"));
}

}  // namespace
}  // namespace stasis::oci
