// Our errors as gRPC's and back: the codes are the same by number. No gRPC header is needed to see this one.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace grpc {
class Status;
}

namespace stasis::supervisor {

// Code for code. The message becomes one line of ASCII, at most 4 KiB, because peers of 2016 show it as it
// is.
grpc::Status ToGrpc(const Status& status);

// Code for code; a code outside of the canonical ones becomes kUnknown.
Status FromGrpc(const grpc::Status& status);

// `text` on one line: line ends become "; ", other control characters a blank, bytes beyond ASCII "\xHH".
std::string OneAsciiLine(std::string_view text, size_t limit = 4096);

}  // namespace stasis::supervisor
