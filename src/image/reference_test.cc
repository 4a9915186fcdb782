#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "image/image_store.h"

namespace stasis::image {
namespace {

using ::testing::HasSubstr;

TEST(ReferenceTest, NamesAreWrittenInFullAsDockerShowsThem) {
  std::string digest = "sha256:" + std::string(64, 'a');
  for (auto [raw, full] : std::initializer_list<std::pair<std::string, std::string>>{
           {"busybox", "busybox:latest"},
           {"busybox:1.36", "busybox:1.36"},
           {"docker.io/library/busybox", "busybox:latest"},
           {"library/busybox:1", "busybox:1"},
           {"index.docker.io/library/busybox", "busybox:latest"},
           {"library/a/b", "library/a/b:latest"},
           {"localhost/library/busybox", "localhost/library/busybox:latest"},
           {"docker.io/user/app:x", "user/app:x"},
           {"localhost:5000/a/b", "localhost:5000/a/b:latest"},
           {"ghcr.io/o/a-b__c.d:V1_2", "ghcr.io/o/a-b__c.d:V1_2"},
           {"busybox@" + digest, "busybox@" + digest},
           {"busybox:1@" + digest, "busybox@" + digest}}) {
    StatusOr<std::string> got = NormalizeReference(raw);
    ASSERT_TRUE(got.ok()) << raw << ": " << Message(got.status());
    EXPECT_EQ(*got, full);
  }
}

TEST(ReferenceTest, WhatIsNoNameIsRefused) {
  for (const char* raw : {"", ":tag", "a:", "a:-x", "a b", "-a", "a/", "/a", "a//b", "a@sha256:12", "../a",
                          "a..b", "a___b", "a/.b", "a\nb"}) {
    EXPECT_THAT(Message(NormalizeReference(raw).status()), HasSubstr("invalid reference format")) << raw;
  }
  EXPECT_FALSE(NormalizeReference("a:" + std::string(129, 't')).ok());
  EXPECT_FALSE(NormalizeReference(std::string(256, 'a')).ok());
  EXPECT_THAT(Message(NormalizeReference("Busybox").status()), HasSubstr("must be lowercase"));
  EXPECT_THAT(Message(NormalizeReference(std::string(64, 'a')).status()), HasSubstr("hexadecimal"));
}

TEST(ReferenceTest, ANewTagLooksLikeNoId) {
  EXPECT_EQ(*NormalizeNewTag("library/a"), "a:latest");
  for (const char* raw : {"sha256:foo", "sha256", "library/sha256:1"}) {
    EXPECT_THAT(Message(NormalizeNewTag(raw).status()),
                HasSubstr("refusing to create an ambiguous tag using digest algorithm as name"))
        << raw;
  }
  EXPECT_TRUE(NormalizeNewTag("a/sha256:1").ok());
  EXPECT_THAT(Message(NormalizeNewTag("a@sha256:" + std::string(64, 'a')).status()),
              HasSubstr("digest reference"));
}

}  // namespace
}  // namespace stasis::image
