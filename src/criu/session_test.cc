#include "criu/session.h"

#include <gtest/gtest.h>

#include <thread>

#include "linux/files.h"

namespace stasis::criu {
namespace {

TEST(CriuSessionTest, OlderThan42IsRefusedWithAWayOut) {
  EXPECT_TRUE(CheckVersion({4, 2, 0}).ok());
  EXPECT_TRUE(CheckVersion({4, 2, 1}).ok());
  EXPECT_TRUE(CheckVersion({5, 0, 0}).ok());
  for (Version old : {Version{4, 1, 1}, Version{3, 17, 1}, Version{}}) {
    Status status = CheckVersion(old);
    EXPECT_TRUE(absl::IsFailedPrecondition(status));
    EXPECT_NE(Message(status).find("scripts/setup"), std::string::npos);
  }
  EXPECT_EQ((Version{4, 2, 1}).Text(), "4.2.1");
  EXPECT_EQ((Version{4, 2, 0}).Text(), "4.2");
}

TEST(CriuSessionTest, AProgramThatIsNotThereIsAnError) {
  EXPECT_FALSE(Session::Start({"/nonexistent/criu", ""}).ok());
}

TEST(CriuSessionTest, AProgramThatIsNoCriuIsToldApart) {
  auto session = Session::Start({"/bin/true", ""});
  ASSERT_TRUE(session.ok()) << session.status();
  EXPECT_TRUE(absl::IsUnavailable(session->AskVersion(After(std::chrono::seconds(10)), {}).status()));
}

TEST(CriuSessionTest, OneThatSaysNothingEndsAtTheDeadline) {
  auto temporary = TemporaryDirectory::Create("/tmp", "criu-session-");
  ASSERT_TRUE(temporary.ok());
  std::string program = temporary->path() + "/mute";
  ASSERT_TRUE(WriteFileAtomically(program, "#!/bin/sh\nexec sleep 100\n", 0755).ok());
  auto session = Session::Start({program, ""});
  ASSERT_TRUE(session.ok()) << session.status();
  EXPECT_TRUE(
      absl::IsDeadlineExceeded(session->AskVersion(After(std::chrono::milliseconds(50)), {}).status()));
  std::stop_source stop;
  stop.request_stop();
  EXPECT_TRUE(absl::IsCancelled(session->Next(kNoDeadline, stop.get_token()).status()));
}

// CRIU probes the kernel with children that stop and wait for it.
TEST(CriuSessionTest, ItsHelpersDoNotOutliveIt) {
  auto temporary = TemporaryDirectory::Create("/tmp", "criu-session-");
  ASSERT_TRUE(temporary.ok());
  const std::string program = temporary->path() + "/probing", told = temporary->path() + "/helper";
  for (const char* end : {"exec sleep 100", "kill -9 $$"}) {
    const std::string script = "#!/bin/sh\nsh -c 'kill -STOP $$; sleep 100' &\necho $! > " + told +
                               ".new\nmv " + told + ".new " + told + "\n" + end + "\n";
    ASSERT_TRUE(WriteFileAtomically(program, script, 0755).ok());
    ProcessHandle helper = [&] {
      auto session = Session::Start({program, ""});
      EXPECT_TRUE(session.ok()) << session.status();
      while (!Exists(told)) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      auto handle = ProcessHandle::Open(std::stoi(*ReadFile(told)));
      EXPECT_TRUE(handle.ok()) << handle.status();
      if (std::string_view(end).starts_with("kill")) {
        EXPECT_FALSE(session->AskVersion(After(std::chrono::seconds(10)), {}).ok());
      }
      return *std::move(handle);
    }();
    EXPECT_TRUE(helper.WaitEnded(After(std::chrono::seconds(10)), {}).ok()) << end;
    ASSERT_TRUE(RemoveTree(told).ok());
  }
}

}  // namespace
}  // namespace stasis::criu
