// What the checkpointer gives to CRIU at a restore, and to somebody who is not CRIU. That a restored
// container has its memory is for checkpoint_test.cc to see.
#include "checkpoint/restored_files.h"

#include <gmock/gmock.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <future>

#include "checkpoint/real_container_test.h"

namespace stasis::checkpoint {
namespace {

using testing::HasSubstr;

class RestoredFilesTest : public RealContainerTest {
 protected:
  // Of a container that has ended; its memory waits to be asked for. One process: what a fork shares with
  // its parent is CRIU's.
  void UnpackOneProcess() {
    Python("");
    if (IsSkipped() || HasFatalFailure()) return;
    ASSERT_TRUE(Checkpoint(Plan("cp1", /*exit=*/true)).ok());
    ASSERT_TRUE(Open("cp1"));
    ASSERT_TRUE(Call("unpack").ok());
  }
  // Tells "fill" of `threads` as CRIU does. What it answers to us, and to the shim.
  std::string Fill(const std::vector<pid_t>& threads, Status* filled) {
    auto filling = std::async(std::launch::async, [this] { return Call("fill").status(); });
    auto connection = ConnectUnix(base_ + "/restore.sock");
    EXPECT_TRUE(connection.ok()) << connection.status();
    if (!connection.ok()) return "";
    char answer = 0;
    EXPECT_TRUE(ReadExactly(connection->get(), &answer, 1, kNoDeadline, {}).ok());
    EXPECT_EQ(answer, '1') << "the images are there";
    const std::string_view bytes(reinterpret_cast<const char*>(threads.data()),
                                 threads.size() * sizeof(pid_t));
    EXPECT_TRUE(SendExactly(connection->get(), bytes, kNoDeadline, {}).ok());
    ::shutdown(connection->get(), SHUT_WR);
    *filled = filling.get();
    return ::recv(connection->get(), &answer, 1, 0) == 1 ? std::string(1, answer) : "";
  }
};

TEST_F(RestoredFilesTest, WithoutTheProcessThereIsNoAnswer) {
  UnpackOneProcess();
  if (IsSkipped() || HasFatalFailure()) return;
  Status filled;
  EXPECT_EQ(Fill({::getpid(), 0}, &filled), "");
  EXPECT_THAT(Message(filled), HasSubstr("memory of process 1: CRIU has not restored it"));
  EXPECT_FALSE(Exists(base_ + "/restore.sock"));
  EXPECT_TRUE(absl::IsFailedPrecondition(Call("fill").status())) << "once";
}

TEST_F(RestoredFilesTest, AListOfThreadsThatIsCutOffIsNone) {
  UnpackOneProcess();
  if (IsSkipped() || HasFatalFailure()) return;
  Status filled;
  EXPECT_EQ(Fill({::getpid()}, &filled), "");
  EXPECT_TRUE(absl::IsCancelled(filled)) << filled;
}

TEST_F(RestoredFilesTest, WithoutTheMappingsThereIsNoAnswer) {
  UnpackOneProcess();
  if (IsSkipped() || HasFatalFailure()) return;
  // Process 1 of a pid namespace, as the container's was, but of another program.
  int gate[2], child_is[2];
  ASSERT_EQ(::pipe(gate), 0);
  ASSERT_EQ(::pipe(child_is), 0);
  const pid_t parent = ::fork();
  if (parent == 0) {
    ::close(gate[1]);
    if (::unshare(CLONE_NEWPID) != 0) ::_exit(1);
    const pid_t child = ::fork();
    char byte = 0;
    if (child > 0) static_cast<void>(::write(child_is[1], &child, sizeof child));
    if (child == 0) ::_exit(::read(gate[0], &byte, 1) == 0 ? 0 : 1);
    ::waitpid(child, nullptr, 0);
    ::_exit(0);
  }
  ::close(gate[0]);
  pid_t child = 0;
  ASSERT_EQ(::read(child_is[0], &child, sizeof child), static_cast<ssize_t>(sizeof child));
  Status filled;
  EXPECT_EQ(Fill({child, 0}, &filled), "");
  EXPECT_THAT(Message(filled), HasSubstr("memory of process 1"));
  for (const int end : {gate[1], child_is[0], child_is[1]}) ::close(end);
  ::waitpid(parent, nullptr, 0);
}

TEST_F(RestoredFilesTest, DamageThatIsFoundWhileCriuWaitsEndsIt) {
  Python("");  // larger than what is read once it is open
  if (IsSkipped() || HasFatalFailure()) return;
  ASSERT_TRUE(Checkpoint(Plan("cp1", /*exit=*/true)).ok());
  const int last = Number();
  ASSERT_TRUE(Open("cp1"));
  auto restoring = std::async(std::launch::async, [this] { return RuncRestore(); });
  ASSERT_TRUE(CriuHasBegun());
  for (const auto& pack : std::filesystem::directory_iterator(base_ + "/store/packs")) {
    std::fstream file(pack.path());
    const auto size = static_cast<std::streamoff>(pack.file_size());
    for (std::streamoff at = 4096; at + 4096 < size; at += 4096) file.seekp(at).put('x');
  }
  const Status unpacked = Call("unpack").status();
  EXPECT_TRUE(absl::IsDataLoss(unpacked)) << unpacked;
  EXPECT_NE(restoring.get(), 0);
  EXPECT_EQ(Number(), last);
  EXPECT_FALSE(Exists(base_ + "/restore.sock"));
  EXPECT_TRUE(absl::IsFailedPrecondition(Call("fill").status()));
}

TEST_F(RestoredFilesTest, AShimThatHangsUpEndsTheWait) {
  UnpackOneProcess();
  if (IsSkipped() || HasFatalFailure()) return;
  ASSERT_TRUE(
      protocol::WriteFrame(caller_->fd(), {{"id", 99}, {"method", "fill"}, {"params", Json::object()}}).ok());
  HangUp();
  EXPECT_FALSE(Exists(base_ + "/restore.sock"));
  Serve();
}

}  // namespace
}  // namespace stasis::checkpoint
