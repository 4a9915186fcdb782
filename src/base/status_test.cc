#include "base/status.h"

#include "gtest/gtest.h"

namespace stasis {
namespace {

TEST(StatusTest, ErrnoErrorKeepsTheNumberThroughAnnotations) {
  Status status = Annotate(ErrnoError(ENOSPC, "write pages-1.img"), "dump c1");
  EXPECT_EQ(Message(status), "dump c1: write pages-1.img: No space left on device");
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(GetErrno(status), ENOSPC);
}

TEST(StatusTest, OtherWordsLeaveCodeAndNumber) {
  Status status = WithMessage(ErrnoError(ENOSPC, "write x"), "no room");
  EXPECT_EQ(Message(status), "no room");
  EXPECT_EQ(GetErrno(status), ENOSPC);
}

TEST(StatusTest, AnnotateLeavesOkAlone) { EXPECT_TRUE(Annotate(absl::OkStatus(), "x").ok()); }

TEST(StatusTest, EveryCodeHasAnHttpStatus) {
  EXPECT_EQ(ToHttp(StatusCode::kInvalidArgument), 400);
  EXPECT_EQ(ToHttp(StatusCode::kNotFound), 404);
  EXPECT_EQ(ToHttp(StatusCode::kAlreadyExists), 409);
  EXPECT_EQ(ToHttp(StatusCode::kFailedPrecondition), 409);
  EXPECT_EQ(ToHttp(StatusCode::kUnimplemented), 501);
  EXPECT_EQ(ToHttp(StatusCode::kInternal), 500);
  EXPECT_EQ(ToHttp(StatusCode::kUnavailable), 503);
}

StatusOr<int> Half(int n) {
  if (n % 2) return InvalidArgument("odd");
  return n / 2;
}

StatusOr<int> Quarter(int n) {
  STASIS_ASSIGN_OR_RETURN(int half, Half(n));
  STASIS_RETURN_IF_ERROR(Half(half).status());
  return half / 2;
}

TEST(StatusTest, MacrosReturnTheFirstError) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(Quarter(6).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace stasis
