#include "engine/restore_check.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "oci/spec_defaults.h"

namespace stasis::engine {
namespace {

using testing::EndsWith;

ContainerRecord Record(const std::string& name) {
  return {.id = *ContainerId::Parse(std::string(64, 'a')), .name = name};
}

Status Check(const ContainerRecord& saved, const ContainerRecord& target) {
  return CheckRestore({}, saved, target, {});
}

TEST(RestoreCheckTest, TheMachineMustHaveWhatProgramsMayUse) {
  Manifest manifest;
  manifest.architecture = "x86_64";
  manifest.cpu_features = {"avx2", "avx512f"};
  manifest.criu_version = "4.2.1";
  const ContainerRecord target = Record("other");
  EXPECT_TRUE(CheckRestore(manifest, {}, target, {"x86_64", {"aes", "avx2", "avx512f"}, "4.10"}).ok());
  EXPECT_TRUE(CheckRestore(manifest, {}, target, {"x86_64", {"avx2", "avx512f"}, ""}).ok());
  ContainerRecord saved = target;
  saved.image_id = "sha256:0123456789abcdef";
  saved.config.image = "busybox:1";
  EXPECT_EQ(
      Message(CheckRestore(manifest, saved, target, {"x86_64", {"avx2"}, "4.2"})),
      "container other was not created with the options of the container that the checkpoint was made of: "
      "the image: it was busybox:1 (0123456789ab), the container's is  (); and this machine lacks what the "
      "checkpoint's programs may use: the processor's avx512f, "
      "CRIU 4.2.1 (it has 4.2)");
  EXPECT_EQ(Message(CheckRestore(manifest, {}, target, {"aarch64", {}, "4.2.1"})),
            "this machine lacks what the checkpoint's programs may use: the architecture x86_64");
}

TEST(RestoreCheckTest, WhatCriuDoesNotBringIsNotTheSameOptions) {
  ContainerRecord saved = Record("web");
  saved.argv = {"sleep", "1"};
  saved.host_config.cap_add = {"NET_ADMIN", "SYS_TIME"};
  ContainerRecord target = Record("other");
  target.host_config.cap_add = {"SYS_TIME", "NET_ADMIN"};
  target.host_config.network_mode = "none";  // an own namespace, like the default
  target.config.labels = {{"a", "b"}};
  EXPECT_TRUE(Check(saved, target).ok()) << Check(saved, target);
}

TEST(RestoreCheckTest, EveryDifferenceIsNamed) {
  ContainerRecord saved = Record("web");
  ContainerRecord target = Record("other");
  target.mounts.push_back({.type = "bind", .source = "/s", .destination = "/data"});
  target.config.tty = true;
  target.config.user = "nobody";
  target.host_config.readonly_rootfs = true;
  target.host_config.privileged = true;
  target.host_config.cap_drop = {"ALL"};
  target.host_config.security_opt = {"no-new-privileges"};
  target.host_config.network_mode = "host";
  target.host_config.ipc_mode = "host";
  const Status status = Check(saved, target);
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(Message(status),
              EndsWith(": the mount /data (bind), --tty, --user, --read-only, --privileged, --cap-drop, "
                       "--security-opt, --network, --ipc"));
  EXPECT_FALSE(Check(target, saved).ok());
}

TEST(RestoreCheckTest, ARecordOfAnOlderEngineMeansTheDefaults) {
  const ContainerRecord saved = Record("web");  // says nothing of masked paths, nor of IPC
  ContainerRecord target = Record("other");
  target.host_config.ipc_mode = "shareable";
  target.host_config.masked_paths = oci::DefaultMaskedPaths();
  target.host_config.readonly_paths = oci::DefaultReadonlyPaths();
  EXPECT_TRUE(Check(saved, target).ok()) << Check(saved, target);
  target.host_config.masked_paths->pop_back();
  target.host_config.ipc_mode = "none";
  EXPECT_THAT(Message(Check(saved, target)), EndsWith(": --ipc, MaskedPaths and ReadonlyPaths"));
}

TEST(RestoreCheckTest, AMountThatIsReadOnlyIsAnother) {
  ContainerRecord saved = Record("web");
  saved.mounts.push_back({.type = "bind", .source = "/s", .destination = "/data"});
  ContainerRecord target = saved;
  EXPECT_TRUE(Check(saved, target).ok());
  target.mounts[0].source = "/elsewhere";  // the same files may lie elsewhere on another machine
  EXPECT_TRUE(Check(saved, target).ok());
  target.mounts[0].read_write = false;
  EXPECT_FALSE(Check(saved, target).ok());
}

}  // namespace
}  // namespace stasis::engine
