#include "oci/seccomp.h"

#include <algorithm>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "oci/capabilities.h"

namespace stasis::oci {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

SeccompContext Context(std::vector<std::string> capabilities = DefaultCapabilities()) {
  return {"amd64", std::move(capabilities), 6, 1};
}

std::vector<Json> RulesFor(const Json& seccomp, const std::string& name) {
  std::vector<Json> out;
  for (const Json& rule : seccomp["syscalls"]) {
    if (std::find(rule["names"].begin(), rule["names"].end(), name) != rule["names"].end())
      out.push_back(rule);
  }
  return out;
}

TEST(DefaultSeccompTest, IoUringIsRefusedAndOrdinaryCallsAreAllowed) {
  Json seccomp = *ConvertSeccompProfile(DefaultSeccompProfile(), Context());
  EXPECT_EQ(seccomp["defaultAction"], "SCMP_ACT_ERRNO");
  EXPECT_EQ(seccomp["defaultErrnoRet"], 1);
  EXPECT_THAT(seccomp["architectures"], ElementsAre("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"));
  for (const char* refused :
       {"io_uring_setup", "io_uring_enter", "io_uring_register", "mount", "userfaultfd"}) {
    EXPECT_TRUE(RulesFor(seccomp, refused).empty()) << refused;
  }
  for (const char* allowed : {"read", "epoll_wait", "arch_prctl", "ptrace", "chroot"}) {
    EXPECT_EQ(RulesFor(seccomp, allowed).size(), 1u) << allowed;
  }
  EXPECT_EQ(RulesFor(seccomp, "personality").size(), 5u);
  EXPECT_EQ(RulesFor(seccomp, "socket").size(), 3u);
}

TEST(DefaultSeccompTest, CloneDependsOnTheRightToMakeNamespaces) {
  Json plain = *ConvertSeccompProfile(DefaultSeccompProfile(), Context());
  EXPECT_EQ(RulesFor(plain, "clone3")[0]["errnoRet"], 38);
  EXPECT_EQ(RulesFor(plain, "clone")[0]["args"][0]["value"], 0x7E020000);
  Json admin = *ConvertSeccompProfile(DefaultSeccompProfile(), Context(AllCapabilities()));
  EXPECT_EQ(RulesFor(admin, "clone3")[0]["action"], "SCMP_ACT_ALLOW");
  EXPECT_FALSE(RulesFor(admin, "mount").empty());
}

TEST(DefaultSeccompTest, OtherArchitecturesAndOldKernelsGetTheirOwnRules) {
  SeccompContext context = Context();
  context.architecture = "arm64";
  context.kernel_major = 4;
  context.kernel_minor = 7;
  Json seccomp = *ConvertSeccompProfile(DefaultSeccompProfile(), context);
  EXPECT_THAT(seccomp["architectures"], ElementsAre("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"));
  EXPECT_TRUE(RulesFor(seccomp, "arch_prctl").empty());
  EXPECT_TRUE(RulesFor(seccomp, "ptrace").empty());
}

TEST(SeccompTest, ACustomProfileIsConverted) {
  Json profile = *ParseJson(R"({"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],
      "syscalls":[{"name":"chmod","action":"SCMP_ACT_ERRNO"},
                  {"names":["kill"],"action":"SCMP_ACT_ERRNO","excludes":{"caps":["CAP_KILL"]}},
                  {"names":["ptrace"],"action":"SCMP_ACT_ERRNO","errnoRet":13,
                   "args":[{"index":1,"value":2,"valueTwo":3,"op":"SCMP_CMP_MASKED_EQ"}]}]})");
  Json seccomp = *ConvertSeccompProfile(profile, Context());
  EXPECT_EQ(seccomp, *ParseJson(R"({"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],
      "syscalls":[{"names":["chmod"],"action":"SCMP_ACT_ERRNO"},
                  {"names":["ptrace"],"action":"SCMP_ACT_ERRNO","errnoRet":13,
                   "args":[{"index":1,"value":2,"valueTwo":3,"op":"SCMP_CMP_MASKED_EQ"}]}]})"));
  EXPECT_TRUE(ConvertSeccompProfile(Json::object(), Context())->is_null());
}

TEST(SeccompTest, BadProfilesAreNamed) {
  for (auto [text, message] : std::initializer_list<std::pair<const char*, const char*>>{
           {"[]", "want an object"},
           {R"({"defaultAction":7})", "defaultAction"},
           {R"({"syscalls":[{"name":"a","names":["b"]}]})", "both 'name' and 'names'"},
           {R"({"syscalls":[{"action":"SCMP_ACT_ALLOW"}]})", "names no system call"},
           {R"({"syscalls":["read"]})", "want objects"},
           {R"({"syscalls":[{"names":["a"],"args":[{"index":9}]}]})", "6 arguments"},
           {R"({"syscalls":[{"names":["a"],"includes":{"minKernel":"new"}}]})", "minKernel"},
           {R"({"defaultAction":"x","architectures":["y"],"archMap":[{}]})", "use either"}}) {
    StatusOr<Json> seccomp = ConvertSeccompProfile(*ParseJson(text), Context());
    ASSERT_FALSE(seccomp.ok()) << text;
    EXPECT_THAT(Message(seccomp.status()), HasSubstr(message));
  }
}

}  // namespace
}  // namespace stasis::oci
