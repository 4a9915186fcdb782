#include <signal.h>

#include "shim/shim_test_support.h"

namespace stasis {
namespace {

using protocol::kInit;

TEST_F(ShimTest, AContainersWholeLife) {
  StartShim({"/bin/echo", "hello"});
  EXPECT_EQ(State().status, "starting");
  auto created = Call("create");
  ASSERT_TRUE(created.ok()) << created.status();
  EXPECT_EQ(State().status, "created");
  EXPECT_EQ((*created)["pid"], State().pid);
  auto started = Call("start");
  ASSERT_TRUE(started.ok()) << started.status();
  EXPECT_EQ(WaitForExit(), 0);
  EXPECT_EQ(State().status, "stopped");
  EXPECT_EQ(LogText(), "hello\n");
  auto record = ReadFile(shim_directory() + "/" + protocol::kExitFile);
  ASSERT_TRUE(record.ok());
  EXPECT_EQ(protocol::ExitRecordFromJson(*ParseJson(*record))->status, 0);
  auto deleted = Call("delete");
  EXPECT_TRUE(deleted.ok()) << deleted.status();
  EXPECT_TRUE(shim_->process().WaitEnded(After(kTestLimit), {}).ok());
  EXPECT_FALSE(Exists(shim_directory() + "/" + protocol::kShimSocket));
}

TEST_F(ShimTest, TheExitCodeIsTheProgramsOwn) {
  RunContainer({"/bin/sh", "-c", "echo out; echo err >&2; exit 42"});
  EXPECT_EQ(WaitForExit(), 42);
  EXPECT_EQ(LogText("stdout"), "out\n");
  EXPECT_EQ(LogText("stderr"), "err\n");
}

TEST_F(ShimTest, ASignalEndsItWith128AndItsNumber) {
  RunContainer({"/bin/sleep", "1000"});
  EXPECT_TRUE(Call("kill", {{"process", kInit}, {"signal", SIGKILL}}).ok());
  EXPECT_EQ(WaitForExit(), 137);
}

TEST_F(ShimTest, AProgramThatIsNotThereIsSaidByTheRuntimesWords) {
  StartShim({"/bin/nope"});
  auto created = Call("create");
  EXPECT_NE(Message(created.status()).find("/bin/nope"), std::string::npos) << created.status();
  EXPECT_EQ(State().status, "stopped");
}

TEST_F(ShimTest, AllOutputIsInTheLogBeforeTheExitIsTold) {
  RunContainer({"/bin/sh", "-c", "seq 1 20000"});
  EXPECT_EQ(WaitForExit(), 0);
  std::string text = LogText();
  EXPECT_EQ(text.substr(text.size() - 6), "20000\n");
  EXPECT_EQ(text.substr(0, 4), "1\n2\n");
}

}  // namespace
}  // namespace stasis
