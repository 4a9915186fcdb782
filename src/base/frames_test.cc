#include "base/frames.h"

#include <gtest/gtest.h>

namespace stasis {
namespace {

std::string Frame(char stream, std::string payload) {
  std::string header(8, '\0');
  header[0] = stream;
  header[6] = static_cast<char>(payload.size() >> 8);
  header[7] = static_cast<char>(payload.size());
  return header + payload;
}

struct Streams {
  std::string out, err;
  FrameDemultiplexer::Sink Sink() {
    return [this](bool is_error, std::string_view payload) {
      (is_error ? err : out) += payload;
      return absl::OkStatus();
    };
  }
};

TEST(FramesTest, PiecesOfAnySizeGiveTheSameStreams) {
  const std::string wire =
      Frame(1, "out1") + Frame(2, std::string(700, 'e')) + Frame(1, "") + Frame(1, "out2");
  for (size_t piece = 1; piece <= wire.size(); ++piece) {
    FrameDemultiplexer frames;
    Streams streams;
    for (size_t at = 0; at < wire.size(); at += piece)
      ASSERT_TRUE(frames.Feed(std::string_view(wire).substr(at, piece), streams.Sink()).ok());
    EXPECT_EQ(streams.out, "out1out2") << piece;
    EXPECT_EQ(streams.err, std::string(700, 'e')) << piece;
    EXPECT_TRUE(frames.AtFrameEnd());
  }
}

TEST(FramesTest, ACutStreamIsSeen) {
  FrameDemultiplexer frames;
  Streams streams;
  ASSERT_TRUE(frames.Feed(Frame(1, "abc").substr(0, 9), streams.Sink()).ok());
  EXPECT_EQ(streams.out, "a");
  EXPECT_FALSE(frames.AtFrameEnd());
}

TEST(FramesTest, OtherBytesAreRefused) {
  FrameDemultiplexer frames;
  Streams streams;
  EXPECT_EQ(frames.Feed("HTTP/1.1 200 OK", streams.Sink()).code(), StatusCode::kDataLoss);
}

TEST(FramesTest, TheSinksErrorIsReturned) {
  FrameDemultiplexer frames;
  auto fail = [](bool, std::string_view) { return Internal("full"); };
  EXPECT_EQ(frames.Feed(Frame(1, "x"), fail), Internal("full"));
}

}  // namespace
}  // namespace stasis
