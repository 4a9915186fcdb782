#include "supervisor/grpc_status.h"

#include <grpcpp/support/status.h>

namespace stasis::supervisor {

std::string OneAsciiLine(std::string_view text, size_t limit) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string line;
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  for (char character : text) {
    auto byte = static_cast<unsigned char>(character);
    if (line.size() >= limit) return line.substr(0, limit - 3) + "...";
    if (byte == '\n') {
      line += "; ";
    } else if (byte < 0x20 || byte == 0x7f) {
      line += ' ';
    } else if (byte < 0x80) {
      line += character;
    } else {
      line += {'\\', 'x', kHex[byte >> 4], kHex[byte & 0xf]};
    }
  }
  return line;
}

grpc::Status ToGrpc(const Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return {static_cast<grpc::StatusCode>(status.code()), OneAsciiLine(Message(status))};
}

Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return {};
  int code = status.error_code();
  bool canonical = code > 0 && code <= static_cast<int>(StatusCode::kUnauthenticated);
  return MakeError(canonical ? static_cast<StatusCode>(code) : StatusCode::kUnknown, status.error_message());
}

}  // namespace stasis::supervisor
