#include "supervisor/spec_json.h"

#include <gtest/gtest.h>

namespace stasis::supervisor {
namespace {

TEST(ProcessSpecTest, FieldsOfContainerdBecomeFieldsOfTheRuntimeSpec) {
  types::AddProcessRequest request;
  request.set_terminal(true);
  request.add_args("sh");
  request.add_args("-c");
  request.add_env("A=b");
  request.set_cwd("/tmp");
  request.mutable_user()->set_uid(33);
  request.mutable_user()->set_gid(44);
  request.mutable_user()->add_additionalgids(55);
  request.add_capabilities("CAP_KILL");
  request.set_nonewprivileges(true);
  types::Rlimit* limit = request.add_rlimits();
  limit->set_type("RLIMIT_NOFILE");
  limit->set_soft(10);
  limit->set_hard(20);
  StatusOr<Json> spec = ProcessSpec(request);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(*spec, *ParseJson(R"({
    "terminal": true, "args": ["sh", "-c"], "env": ["A=b"], "cwd": "/tmp", "noNewPrivileges": true,
    "user": {"uid": 33, "gid": 44, "additionalGids": [55]},
    "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"],
                     "inheritable": []},
    "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}]})"));
}

TEST(ProcessSpecTest, WithoutCapabilitiesTheProcessGetsThoseOfTheContainer) {
  types::AddProcessRequest request;
  request.add_args("true");
  StatusOr<Json> spec = ProcessSpec(request);
  ASSERT_TRUE(spec.ok());
  EXPECT_FALSE(spec->contains("capabilities"));
  EXPECT_EQ((*spec)["cwd"], "/");
}

TEST(ProcessSpecTest, AProcessWithoutArgumentsIsRefused) {
  EXPECT_EQ(ProcessSpec({}).status().code(), StatusCode::kInvalidArgument);
}

TEST(ResourcesSpecTest, WhatIsZeroStaysAsItIs) {
  EXPECT_EQ(ResourcesSpec({}), Json::object());
  types::UpdateResource resources;
  resources.set_memorylimit(1 << 20);
  resources.set_cpuquota(static_cast<uint64_t>(-1));
  resources.set_cpusetcpus("0-1");
  types::ThrottleDevice* device = resources.add_blkiothrottlereadbpsdevice();
  device->mutable_blkiodevice()->set_major(8);
  device->set_rate(100);
  EXPECT_EQ(ResourcesSpec(resources), *ParseJson(R"({
    "memory": {"limit": 1048576}, "cpu": {"quota": -1, "cpus": "0-1"},
    "blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 100}]}})"));
}

}  // namespace
}  // namespace stasis::supervisor
