#include "supervisor/grpc_status.h"

#include <grpcpp/support/status.h>
#include <gtest/gtest.h>

namespace stasis::supervisor {
namespace {

TEST(GrpcStatusTest, EveryCanonicalCodeComesBackAsItWas) {
  for (int code = 1; code <= static_cast<int>(StatusCode::kUnauthenticated); ++code) {
    Status status = MakeError(static_cast<StatusCode>(code), "because");
    grpc::Status wire = ToGrpc(status);
    EXPECT_EQ(static_cast<int>(wire.error_code()), code);
    EXPECT_EQ(FromGrpc(wire).code(), status.code());
    EXPECT_EQ(Message(FromGrpc(wire)), "because");
  }
  EXPECT_TRUE(ToGrpc(Status()).ok());
  EXPECT_TRUE(FromGrpc(grpc::Status::OK).ok());
}

TEST(GrpcStatusTest, MessagesBecomeOneLineOfAscii) {
  EXPECT_EQ(OneAsciiLine("a\nb\tc\x7f"
                         "d\n"),
            "a; b c d");
  EXPECT_EQ(OneAsciiLine("\xc3\xa9"), "\\xc3\\xa9");
  EXPECT_EQ(OneAsciiLine(std::string(9000, 'x')).size(), 4096u);
}

}  // namespace
}  // namespace stasis::supervisor
