#include "engine/log_reader.h"

#include <condition_variable>
#include <cstdio>
#include <fstream>
#include <mutex>
#include <thread>

#include "base/time.h"
#include "engine/log_entry.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "linux/files.h"

namespace stasis::engine {
namespace {

// What a reader was given, and a way to wait for it.
class Collected {
 public:
  backend::ByteSink Sink() {
    return [this](std::string_view bytes) {
      const std::lock_guard lock(mutex_);
      text_ += bytes;
      arrived_.notify_all();
      return Status();
    };
  }
  bool WaitFor(const std::string& text) {
    std::unique_lock lock(mutex_);
    return arrived_.wait_for(lock, std::chrono::seconds(10),
                             [&] { return text_.find(text) != std::string::npos; });
  }
  std::string text() {
    const std::lock_guard lock(mutex_);
    return text_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::string text_;
};

class LogReaderTest : public testing::Test {
 protected:
  LogReaderTest() : directory_(*TemporaryDirectory::Create("/tmp", "stasis-log-")) {
    options_.use_stdout = true;
    options_.use_stderr = true;
    source_ = {.path = directory_.path() + "/x-json.log", .raw = true, .ended = ended_.get_token()};
  }
  // Second `second`: "line N".
  void Write(int second, const std::string& suffix = "", const std::string& stream = "stdout") const {
    std::ofstream file(source_.path + suffix, std::ios::app);
    file << DumpJson({{"log", "line " + std::to_string(second) + "\n"},
                      {"stream", stream},
                      {"time", ToRfc3339(absl::FromUnixSeconds(second))}})
         << "\n";
  }
  std::string Read() {
    Collected collected;
    EXPECT_TRUE(ReadLog(source_, options_, collected.Sink(), {}).ok());
    return collected.text();
  }
  TemporaryDirectory directory_;
  std::stop_source ended_;
  LogSource source_;
  backend::LogOptions options_;
};

TEST_F(LogReaderTest, AMissingLogIsEmpty) { EXPECT_EQ(Read(), ""); }

TEST_F(LogReaderTest, RotatedFilesComeOldestFirst) {
  Write(1, ".2");
  Write(2, ".1");
  Write(3);
  EXPECT_EQ(Read(), "line 1\nline 2\nline 3\n");
}

TEST_F(LogReaderTest, TailGoesBackThroughRotatedFiles) {
  Write(1, ".1");
  Write(2, ".1");
  Write(3);
  options_.tail = 2;
  EXPECT_EQ(Read(), "line 2\nline 3\n");
  options_.tail = 0;
  EXPECT_EQ(Read(), "");
  options_.tail = 9;
  EXPECT_EQ(Read(), "line 1\nline 2\nline 3\n");
}

TEST_F(LogReaderTest, TailOfAFileLongerThanAChunk) {
  for (int i = 0; i < 3000; ++i) Write(i);
  options_.tail = 2500;
  const std::string text = Read();
  EXPECT_EQ(text.substr(0, 9), "line 500\n");
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2500);
}

TEST_F(LogReaderTest, SinceUntilAndStreamsChoose) {
  Write(1);
  Write(2, "", "stderr");
  Write(3);
  Write(4);
  options_.since = absl::FromUnixSeconds(2);
  options_.until = absl::FromUnixSeconds(3);
  EXPECT_EQ(Read(), "line 2\nline 3\n");
  options_.use_stderr = false;
  EXPECT_EQ(Read(), "line 3\n");
}

TEST_F(LogReaderTest, HalfALineIsLeftOut) {
  Write(1);
  std::ofstream(source_.path, std::ios::app) << "{\"log\":\"half";
  EXPECT_EQ(Read(), "line 1\n");
}

TEST_F(LogReaderTest, FollowingGoesOnThroughRotationsUntilTheEnd) {
  Write(1);
  options_.follow = true;
  Collected collected;
  std::jthread reader([&] { EXPECT_TRUE(ReadLog(source_, options_, collected.Sink(), {}).ok()); });
  ASSERT_TRUE(collected.WaitFor("line 1\n"));
  Write(2);
  ASSERT_TRUE(collected.WaitFor("line 2\n"));
  Write(3);
  std::rename(source_.path.c_str(), (source_.path + ".1").c_str());
  Write(4);
  std::rename((source_.path + ".1").c_str(), (source_.path + ".2").c_str());
  std::rename(source_.path.c_str(), (source_.path + ".1").c_str());
  Write(5);
  ended_.request_stop();
  reader.join();
  EXPECT_EQ(collected.text(), "line 1\nline 2\nline 3\nline 4\nline 5\n");
}

TEST_F(LogReaderTest, AClientThatLeavesEndsTheFollowing) {
  options_.follow = true;
  std::stop_source cancel;
  Collected collected;
  std::jthread reader(
      [&] { EXPECT_TRUE(ReadLog(source_, options_, collected.Sink(), cancel.get_token()).ok()); });
  cancel.request_stop();
}

TEST(LogEntryTest, FramesAreDockers) {
  const auto entry = ParseLogEntry(R"({"log":"hi\n","stream":"stderr","time":"2026-11-24T07:31:47.5Z"})");
  ASSERT_TRUE(entry.ok());
  EXPECT_EQ(Render(*entry, false, false), std::string("\x02\0\0\0\0\0\0\x03hi\n", 11));
  EXPECT_EQ(Render(*entry, true, true), "2026-11-24T07:31:47.500000000Z hi\n");
  EXPECT_EQ(Render(*entry, true, true, "a=b "), "2026-11-24T07:31:47.500000000Z a=b hi\n");
  EXPECT_FALSE(ParseLogEntry("[]").ok());
  EXPECT_FALSE(ParseLogEntry(R"({"log":1,"time":"2026-11-24T07:31:47.5Z"})").ok());
}

}  // namespace
}  // namespace stasis::engine
