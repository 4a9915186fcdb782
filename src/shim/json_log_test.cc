#include "shim/json_log.h"

#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <optional>
#include <vector>

#include "base/json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "linux/files.h"

namespace stasis {
namespace {

using testing::ElementsAre;

class JsonLogTest : public testing::Test {
 protected:
  void SetUp() override {
    auto directory = TemporaryDirectory::Create(testing::TempDir(), "log-");
    ASSERT_TRUE(directory.ok());
    directory_.emplace(*std::move(directory));
    path_ = directory_->path() + "/x-json.log";
  }
  JsonLog Open(uint64_t max_size = 0, uint32_t max_files = 1) {
    auto log = JsonLog::Open(path_, max_size, max_files);
    EXPECT_TRUE(log.ok()) << log.status();
    return *std::move(log);
  }
  // The texts of all lines of a file.
  std::vector<std::string> Texts(const std::string& suffix = "") {
    std::vector<std::string> texts;
    std::string file = ReadFile(path_ + suffix).value_or("");
    for (size_t at = 0; at < file.size();) {
      size_t end = file.find('\n', at);
      auto line = ParseJson(file.substr(at, end - at));
      EXPECT_TRUE(line.ok()) << file.substr(at, end - at);
      if (line.ok()) texts.push_back((*line)["log"]);
      at = end + 1;
    }
    return texts;
  }
  std::optional<TemporaryDirectory> directory_;
  std::string path_;
  absl::Time now_ = absl::FromUnixNanos(1764000000123456789);
};

TEST_F(JsonLogTest, ALineIsInDockersExactForm) {
  JsonLog log = Open();
  log.Write(Stream::kStdout, "a \"b\" <c>\t\x01\n", now_);
  log.Write(Stream::kStderr, "oops\r\n", now_);
  EXPECT_EQ(*ReadFile(path_),
            "{\"log\":\"a \\\"b\\\" \\u003cc\\u003e\\u0009\\u0001\\n\",\"stream\":\"stdout\","
            "\"time\":\"2025-11-24T16:00:00.123456789Z\"}\n"
            "{\"log\":\"oops\\r\\n\",\"stream\":\"stderr\",\"time\":\"2025-11-24T16:00:00.123456789Z\"}\n");
}

TEST_F(JsonLogTest, LinesAreWholeHoweverTheBytesCome) {
  JsonLog log = Open();
  log.Write(Stream::kStdout, "one", now_);
  log.Write(Stream::kStderr, "between\n", now_);
  log.Write(Stream::kStdout, " and\ntwo\nthr", now_);
  log.Flush(Stream::kStdout, now_);
  EXPECT_THAT(Texts(), ElementsAre("between\n", "one and\n", "two\n", "thr"));
}

TEST_F(JsonLogTest, ALongLineIsSplitAt16KiBAndOnlyItsLastPartEnds) {
  JsonLog log = Open();
  log.Write(Stream::kStdout, std::string(40000, 'x') + "\n", now_);
  log.Write(Stream::kStdout, std::string(16384, 'y') + "\n", now_);
  EXPECT_THAT(Texts(), ElementsAre(std::string(16384, 'x'), std::string(16384, 'x'),
                                   std::string(40000 - 32768, 'x') + "\n", std::string(16384, 'y') + "\n"));
}

TEST_F(JsonLogTest, ASplitDoesNotTearACharacter) {
  JsonLog log = Open();
  std::string text(16383, 'x');
  log.Write(Stream::kStdout, text + "\xc3\xa4z\n", now_);
  EXPECT_THAT(Texts(), ElementsAre(text, "\xc3\xa4z\n"));
}

TEST_F(JsonLogTest, WhatIsNotUtf8BecomesTheReplacementCharacter) {
  std::string out;
  AppendJsonEscaped("\xff|\xc3|\xed\xa0\x80|\xc0\x80|\xe2\x82\xac|\xe2\x80\xa8|\xf4\x90\x80\x80", &out);
  const std::string r = "\\ufffd";
  EXPECT_EQ(out, r + "|" + r + "|" + r + r + r + "|" + r + r + "|\xe2\x82\xac|\\u2028|" + r + r + r + r);
}

TEST_F(JsonLogTest, FilesRotateAndTheOldestGoes) {
  JsonLog log = Open(/*max_size=*/100, /*max_files=*/3);
  for (char c = 'a'; c <= 'h'; ++c) log.Write(Stream::kStdout, std::string(1, c) + "\n", now_);
  // A line has some 75 bytes: a file is full after the second.
  EXPECT_THAT(Texts(), ElementsAre("g\n", "h\n"));
  EXPECT_THAT(Texts(".1"), ElementsAre("e\n", "f\n"));
  EXPECT_THAT(Texts(".2"), ElementsAre("c\n", "d\n"));
  EXPECT_FALSE(Exists(path_ + ".3"));
}

TEST_F(JsonLogTest, OneChunkOfManyLinesRotatesToo) {
  JsonLog log = Open(/*max_size=*/100, /*max_files=*/2);
  log.Write(Stream::kStdout, "a\nb\nc\nd\ne\n", now_);
  EXPECT_THAT(Texts(), ElementsAre("e\n"));
  EXPECT_THAT(Texts(".1"), ElementsAre("c\n", "d\n"));
}

TEST_F(JsonLogTest, WithOneFileInAllItIsBegunAnew) {
  JsonLog log = Open(/*max_size=*/100, /*max_files=*/1);
  for (char c = 'a'; c <= 'c'; ++c) log.Write(Stream::kStdout, std::string(1, c) + "\n", now_);
  EXPECT_THAT(Texts(), ElementsAre("c\n"));
}

TEST_F(JsonLogTest, ItGoesOnInTheSameFile) {
  {
    JsonLog log = Open();
    log.Write(Stream::kStdout, "before\n", now_);
  }
  JsonLog log = Open();
  log.Write(Stream::kStdout, "after\n", now_);
  EXPECT_THAT(Texts(), ElementsAre("before\n", "after\n"));
}

TEST_F(JsonLogTest, AFileThatCannotGrowDropsWholeLines) {
  JsonLog log = Open();
  // The file's limit stands for a full disk: /dev/full is no regular file, and is refused as a log.
  struct rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit nothing = {0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &nothing), 0);
  log.Write(Stream::kStdout, "a\nb\n", now_);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, handler);
  EXPECT_EQ(log.dropped_lines(), 2u);
  EXPECT_FALSE(JsonLog::Open("/dev/full", 0, 1).ok());
}

TEST_F(JsonLogTest, ALinkInPlaceOfTheLogIsNotFollowed) {
  ASSERT_EQ(::symlink("/tmp/elsewhere", path_.c_str()), 0);
  EXPECT_FALSE(JsonLog::Open(path_, 0, 1).ok());
}

}  // namespace
}  // namespace stasis
