#include "cli/doctor.h"

#include <gtest/gtest.h>

namespace stasis::cli {
namespace {

TEST(DoctorTest, VersionsAreComparedByNumbers) {
  EXPECT_TRUE(VersionAtLeast("4.2.1", "4.2"));
  EXPECT_TRUE(VersionAtLeast("4.10", "4.2"));
  EXPECT_TRUE(VersionAtLeast("1.3.6+ds1", "1.3"));
  EXPECT_TRUE(VersionAtLeast("6.18.0-cloud-amd64", "5.11"));
  EXPECT_FALSE(VersionAtLeast("3.17.1", "4.2"));
  EXPECT_FALSE(VersionAtLeast("4", "4.2"));
  EXPECT_FALSE(VersionAtLeast("", "4.2"));
  EXPECT_FALSE(VersionAtLeast("rubbish", "4.2"));
}

TEST(DoctorTest, VersionsAreFoundInWhatProgramsSay) {
  EXPECT_EQ(VersionIn("Version: 4.2.1\nGitID: v4.2.1\n"), "4.2.1");
  EXPECT_EQ(VersionIn("runc version 1.3.6+ds1\ncommit: 1.3.6\n"), "1.3.6+ds1");
  EXPECT_EQ(VersionIn("nothing"), "");
}

TEST(DoctorTest, TheReportSaysWhatToDo) {
  const Checks checks = {{"kernel", Verdict::kOk, "6.18"},
                         {"criu", Verdict::kFail, "not found", "run scripts/setup"}};
  EXPECT_TRUE(AnyFailed(checks));
  EXPECT_EQ(DoctorText(checks),
            "ok       kernel               6.18\n"
            "FAIL     criu                 not found\n"
            "         -> run scripts/setup\n");
  EXPECT_EQ(DoctorJson(checks)[1]["Verdict"], "FAIL");
  EXPECT_FALSE(AnyFailed({{"a", Verdict::kWarn, ""}}));
}

}  // namespace
}  // namespace stasis::cli
