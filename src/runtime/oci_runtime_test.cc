#include "runtime/oci_runtime.h"

#include "gtest/gtest.h"
#include "linux/files.h"

namespace stasis {
namespace {

TEST(RuntimeErrorTest, TheLastErrorOfTheLogIsTheReason) {
  EXPECT_EQ(LastRuntimeError(R"({"level":"error","msg":"first","time":"x"}
{"level":"warning","msg":"never mind"}
not JSON
{"level":"error","msg":"exec: \"nope\": executable file not found in $PATH"}
)"),
            "exec: \"nope\": executable file not found in $PATH");
  EXPECT_EQ(LastRuntimeError(""), "");
  EXPECT_EQ(LastRuntimeError(R"({"level":5})"), "");
}

// A runtime of a few lines of shell shows what reaches it.
class FakeRuntimeTest : public testing::Test {
 protected:
  void SetUp() override {
    auto directory = TemporaryDirectory::Create(testing::TempDir(), "runtime-");
    ASSERT_TRUE(directory.ok());
    directory_.emplace(*std::move(directory));
  }
  OciRuntime Runtime(const std::string& script) {
    std::string path = directory_->path() + "/runc";
    EXPECT_TRUE(
        WriteFileAtomically(path, "#!/bin/sh\nWORK=" + directory_->path() + "\n" + script, 0700).ok());
    return OciRuntime(
        {.path = path, .root = "/nowhere", .criu = "/opt/c/criu", .work_directory = directory_->path()});
  }
  std::optional<TemporaryDirectory> directory_;
  OciLimits limits_{.deadline = After(std::chrono::seconds(10))};
};

TEST_F(FakeRuntimeTest, TheErrorOfTheLogBecomesTheStatus) {
  OciRuntime runtime = Runtime(R"(echo '{"level":"error","msg":"container does not exist"}' > $4; exit 1)");
  EXPECT_TRUE(absl::IsNotFound(runtime.Start("c", limits_)));
  EXPECT_TRUE(runtime.Delete("c", false, limits_).ok());
}

TEST_F(FakeRuntimeTest, ASilentFailureStillSaysHow) {
  EXPECT_EQ(Message(Runtime("exit 7").Start("c", limits_)), "exit status 7 without a word");
  EXPECT_EQ(Message(Runtime("kill -9 $$").Start("c", limits_)), "killed by signal 9");
}

TEST_F(FakeRuntimeTest, CriusDirectoryComesFirstInThePath) {
  OciRuntime runtime = Runtime("printf %s \"$PATH\" > $WORK/path");
  ASSERT_TRUE(runtime.Start("c", limits_).ok());
  EXPECT_EQ(ReadFile(directory_->path() + "/path")->rfind("/opt/c:", 0), 0u);
}

TEST_F(FakeRuntimeTest, UpdateGetsTheResourcesOnStdin) {
  OciRuntime runtime = Runtime("cat > $WORK/input");
  ASSERT_TRUE(runtime.Update("c", {{"memory", {{"limit", 5}}}}, limits_).ok());
  EXPECT_EQ(*ReadFile(directory_->path() + "/input"), R"({"memory":{"limit":5}})");
}

TEST_F(FakeRuntimeTest, AHangingRuntimeIsEndedByTheDeadline) {
  OciRuntime runtime = Runtime("exec sleep 100");
  EXPECT_TRUE(absl::IsDeadlineExceeded(
      runtime.Create("c", "/b", false, {}, {.deadline = After(std::chrono::milliseconds(50))}).status()));
}

TEST_F(FakeRuntimeTest, ThePidFileIsReadAndNoFileIsLeft) {
  OciRuntime runtime = Runtime("while [ \"$1\" != --pid-file ]; do shift; done; printf 4242 > $2");
  auto pid = runtime.Exec("c", {{"args", {"x"}}}, {}, limits_);
  ASSERT_TRUE(pid.ok()) << pid.status();
  EXPECT_EQ(*pid, 4242);
  EXPECT_EQ(ListDirectory(directory_->path())->size(), 1u);
}

TEST_F(FakeRuntimeTest, ARestoreThatFailsCarriesCriusReason) {
  OciRuntime runtime = Runtime(R"(while [ "$1" != --work-path ]; do shift; done
echo '(00.1)      1: Error (criu/files-reg.c:9): File tmp/x has bad size 5 (expect 3)' > $2/restore.log; exit 1)");
  OciRestore restore{.images = "/i", .work = directory_->path() + "/work"};
  EXPECT_EQ(Message(runtime.Restore("c", "/b", false, {}, restore, limits_).status()),
            "the file /tmp/x was changed since the checkpoint: its size has changed");
}

}  // namespace
}  // namespace stasis
