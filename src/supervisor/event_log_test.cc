#include "supervisor/event_log.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "linux/files.h"

namespace stasis::supervisor {
namespace {

types::Event MakeEvent(const std::string& id, const std::string& type = "exit") {
  types::Event event;
  event.set_id(id);
  event.set_type(type);
  event.set_pid("init");
  return event;
}

class EventLogTest : public testing::Test {
 protected:
  void SetUp() override {
    auto directory = TemporaryDirectory::Create("/tmp", "event-log-");
    ASSERT_TRUE(directory.ok()) << directory.status();
    directory_ = std::make_unique<TemporaryDirectory>(*std::move(directory));
    path_ = directory_->path() + "/events.log";
  }

  std::unique_ptr<EventLog> Open(EventLog::Limits limits = {}) {
    auto log = EventLog::Open(path_, limits);
    EXPECT_TRUE(log.ok()) << log.status();
    return log.ok() ? *std::move(log) : nullptr;
  }

  // Ids of everything from `position` on.
  static std::vector<std::string> Ids(const EventLog& log, uint64_t position) {
    std::vector<std::string> ids;
    for (;; ++position) {
      auto event = log.Next(position, Deadline());
      if (!event.ok() || !event->has_value()) return ids;
      ids.push_back((*event)->id());
    }
  }

  std::unique_ptr<TemporaryDirectory> directory_;
  std::string path_;
};

TEST_F(EventLogTest, EventsAreThereAgainAfterReopening) {
  auto log = Open();
  types::Event event = MakeEvent("one");
  event.set_status(137);
  event.set_oom_killed(true);
  event.set_reason("shim died");
  ToProto(absl::FromUnixSeconds(1700000000), event.mutable_at());
  ASSERT_TRUE(log->Append(event, {"shim", 1}).ok());
  ASSERT_TRUE(log->Append(MakeEvent("two"), {"shim", 2}).ok());
  log.reset();

  log = Open();
  EXPECT_EQ(Ids(*log, 0), (std::vector<std::string>{"one", "two"}));
  auto first = log->Next(0, Deadline());
  ASSERT_TRUE(first.ok() && first->has_value());
  EXPECT_EQ((*first)->status(), 137u);
  EXPECT_TRUE((*first)->oom_killed());
  EXPECT_EQ((*first)->reason(), "shim died");
  EXPECT_EQ((*first)->at().seconds(), 1700000000);
  EXPECT_EQ(log->LastSequence("shim"), 2u);
}

TEST_F(EventLogTest, TimestampsStrictlyIncreaseSoThatResumingIsExact) {
  auto log = Open();
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(log->Append(MakeEvent(std::to_string(i)), {}).ok());
  absl::Time last = absl::InfinitePast();
  for (uint64_t position = 0; position < 100; ++position) {
    auto event = log->Next(position, Deadline());
    ASSERT_TRUE(event.ok() && event->has_value());
    absl::Time time = FromProto((*event)->timestamp());
    EXPECT_GT(time, last);
    last = time;
    EXPECT_EQ(log->FirstAfter(time), position + 1);
  }
  EXPECT_EQ(log->FirstAfter(absl::FromUnixSeconds(-62135596800)), 0u);  // year 1, as old clients send it
  EXPECT_EQ(log->FirstAfter(absl::InfiniteFuture()), log->End());
}

TEST_F(EventLogTest, AnEventOfAShimIsLoggedOnce) {
  auto log = Open();
  ASSERT_TRUE(log->Append(MakeEvent("one"), {"shim", 1}).ok());
  ASSERT_TRUE(log->Append(MakeEvent("one"), {"shim", 1}).ok());
  log.reset();
  log = Open();
  ASSERT_TRUE(log->Append(MakeEvent("one"), {"shim", 1}).ok());
  ASSERT_TRUE(log->Append(MakeEvent("other"), {"other shim", 1}).ok());
  EXPECT_EQ(Ids(*log, 0), (std::vector<std::string>{"one", "other"}));
}

TEST_F(EventLogTest, ATornLastLineIsLeftOutAndTheNextEventStandsOnItsOwn) {
  auto log = Open();
  ASSERT_TRUE(log->Append(MakeEvent("one"), {"shim", 1}).ok());
  log.reset();
  auto file = OpenFile(path_, O_WRONLY | O_APPEND);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(WriteAll(file->get(), "not json\n{\"type\":\"exit\",\"id\":\"tor").ok());

  log = Open();
  ASSERT_TRUE(log->Append(MakeEvent("two"), {"shim", 2}).ok());
  log.reset();
  log = Open();
  EXPECT_EQ(Ids(*log, 0), (std::vector<std::string>{"one", "two"}));
}

TEST_F(EventLogTest, TheFileStaysBoundedAndKeepsHowFarEachShimWasLogged) {
  auto log = Open({.max_bytes = 8192});
  ASSERT_TRUE(log->Append(MakeEvent("early"), {"early shim", 5}).ok());
  for (uint64_t i = 1; i <= 200; ++i) {
    ASSERT_TRUE(log->Append(MakeEvent(std::to_string(i)), {"shim", i}).ok());
    auto text = ReadFile(path_);
    ASSERT_TRUE(text.ok());
    EXPECT_LE(text->size(), 8192u);
  }
  EXPECT_EQ(log->Next(0, Deadline()).status().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(log->LastSequence("early shim"), 5u);
  log.reset();
  log = Open({.max_bytes = 8192});
  EXPECT_EQ(log->LastSequence("early shim"), 5u);
  EXPECT_EQ(log->LastSequence("shim"), 200u);
  EXPECT_EQ(Ids(*log, 0).back(), "200");
}

TEST_F(EventLogTest, AReaderWaitsUntilItsDeadlineAndNoLonger) {
  auto log = Open();
  auto nothing = log->Next(log->End(), After(std::chrono::milliseconds(20)));
  ASSERT_TRUE(nothing.ok());
  EXPECT_FALSE(nothing->has_value());
}

}  // namespace
}  // namespace stasis::supervisor
