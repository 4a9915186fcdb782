#include "protocol/frame.h"

#include <thread>

#include "gtest/gtest.h"
#include "linux/unix_socket.h"

namespace stasis::protocol {
namespace {

class FrameTest : public testing::Test {
 protected:
  void SetUp() override {
    auto pair = MakeSocketPair();
    ASSERT_TRUE(pair.ok());
    near_ = std::move(pair->first);
    far_ = std::move(pair->second);
  }
  void Send(std::string_view bytes) {
    ASSERT_TRUE(SendExactly(far_.get(), bytes, After(std::chrono::seconds(5)), {}).ok());
  }
  StatusOr<Json> Read() { return ReadFrame(near_.get(), After(std::chrono::seconds(5)), {}); }
  UniqueFd near_;
  UniqueFd far_;
};

TEST_F(FrameTest, AFrameIsALengthAndItsJson) {
  EXPECT_EQ(EncodeFrame({{"a", 1}}), std::string("\7\0\0\0{\"a\":1}", 11));
  ASSERT_TRUE(WriteFrame(far_.get(), {{"a", 1}}).ok());
  ASSERT_TRUE(WriteFrame(far_.get(), {{"b", std::string(200000, 'x')}}).ok());
  EXPECT_EQ(DumpJson(*Read()), "{\"a\":1}");
  EXPECT_EQ((*Read())["b"].get<std::string>().size(), 200000u);
}

TEST_F(FrameTest, HostileFramesAreRefused) {
  const std::string bad[] = {
      std::string("\xff\xff\xff\xff", 4),  // 4 GiB
      std::string("\x01\x00\x80\x00", 4),  // one byte over the limit
      std::string("\0\0\0\0", 4),          // nothing
      std::string("\2\0\0\0{]", 6),
      std::string("\2\0\0\0[]", 6),  // not an object
      std::string("\4\0\0\0null", 8),
      std::string("\5\0\0\0{}{}x", 9),                       // something behind
      std::string("\x80\0\0\0", 4) + std::string(128, '['),  // deep
  };
  for (const std::string& bytes : bad) {
    SetUp();
    Send(bytes);
    EXPECT_TRUE(absl::IsDataLoss(Read().status())) << testing::PrintToString(bytes) << Read().status();
  }
}

TEST_F(FrameTest, AnEndInTheMiddleIsAnEnd) {
  Send(std::string("\7\0\0\0{\"a", 7));
  far_.reset();
  EXPECT_TRUE(absl::IsUnavailable(Read().status()));
}

TEST_F(FrameTest, WritingToOneThatIsGoneIsAnErrorNotASignal) {
  far_.reset();
  EXPECT_TRUE(absl::IsUnavailable(WriteFrame(near_.get(), Json::object())));
}

TEST_F(FrameTest, ErrorsKeepCodeAndMessage) {
  Status error = ErrorFromJson(ErrorToJson(NotFound("no such thing")));
  EXPECT_TRUE(absl::IsNotFound(error));
  EXPECT_EQ(Message(error), "no such thing");
  for (const char* odd : {"{}", R"({"code":0})", R"({"code":99})", R"({"code":"x"})", "5"}) {
    EXPECT_TRUE(absl::IsInternal(ErrorFromJson(*ParseJson(odd)))) << odd;
  }
}

// Answers one request with the frames given; "ID" in them is the request's.
class CallTest : public FrameTest {
 protected:
  StatusOr<Json> Call(std::vector<Json> answers, std::chrono::milliseconds quiet = std::chrono::seconds(5)) {
    Caller caller(std::move(near_));
    std::jthread server([&] {
      auto request = ReadFrame(far_.get(), After(std::chrono::seconds(5)), {});
      ASSERT_TRUE(request.ok());
      for (const Json& answer : answers) EXPECT_TRUE(WriteFrame(far_.get(), answer).ok());
    });
    auto result = caller.Call("m", {{"x", 1}}, quiet, stop_.get_token(),
                              [&](const std::string& notice, const Json&) { notices_ += notice; });
    open_ = caller.fd() >= 0;
    return result;
  }
  std::stop_source stop_;
  std::string notices_;
  bool open_ = false;
};

TEST_F(CallTest, NoticesComeBeforeTheAnswer) {
  auto result = Call({NoticeToJson("a", {}), NoticeToJson("b", {}), AnswerToJson(1, Json{{"y", 2}})});
  ASSERT_TRUE(result.ok());
  EXPECT_EQ((*result)["y"], 2);
  EXPECT_EQ(notices_, "ab");
}

TEST_F(CallTest, AnErrorAnswerLeavesTheConnectionOpen) {
  EXPECT_TRUE(absl::IsNotFound(Call({AnswerToJson(1, NotFound("x"))}).status()));
  EXPECT_TRUE(open_);
}

TEST_F(CallTest, AnotherRequestsAnswerClosesIt) {
  EXPECT_TRUE(absl::IsDataLoss(Call({AnswerToJson(7, Json())}).status()));
  EXPECT_FALSE(open_);
}

TEST_F(CallTest, SilenceEndsTheCall) {
  EXPECT_TRUE(absl::IsDeadlineExceeded(Call({}, std::chrono::milliseconds(20)).status()));
  EXPECT_FALSE(open_);
}

TEST_F(CallTest, CancellingClosesTheConnection) {
  stop_.request_stop();
  EXPECT_TRUE(absl::IsCancelled(Call({}).status()));
  EXPECT_FALSE(open_);
}

}  // namespace
}  // namespace stasis::protocol
