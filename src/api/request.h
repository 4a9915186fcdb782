// A request as handlers see it.
#pragma once

#include <map>
#include <stop_token>
#include <string>
#include <string_view>

#include "api/query.h"
#include "backend/streams.h"
#include "base/json.h"
#include "base/status.h"

namespace stasis::api {

// Compares ASCII without regard to case: field names of headers.
struct CaseLess {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const;
};

// Lives as long as its handler runs; a handler keeps nothing of it.
struct Request {
  std::string method;
  std::string target;      // as it was sent, for logs: may hold anything
  std::string path;        // without version prefix and query, escapes as they were sent
  int minor_version = 47;  // the client speaks 1.minor_version of the API
  Query query;
  std::map<std::string, std::string, CaseLess> headers;    // of fields given twice, the last
  std::map<std::string, std::string, std::less<>> values;  // the pattern's {names}, decoded
  bool has_body = false;
  size_t json_limit = 0;  // ReadJson reads no more bytes than this
  // The body, not of bounded size. kUnavailable when the client left in the middle of it, kInvalidArgument
  // when its chunks are malformed, kDeadlineExceeded when nothing came for long, kCancelled by `cancel`.
  backend::ByteSource body;
  // Asked to stop when the client is gone or the server stops.
  std::stop_token cancel;
  // Asked to stop only when the server stops: for what goes on when its client leaves.
  std::stop_token server_stop;

  std::string Header(std::string_view name) const;        // "" when absent
  const std::string& Value(std::string_view name) const;  // of the pattern; it must be there
};

// The body as JSON. An absent or empty body gives null where `required` is false. kInvalidArgument: another
// content type than application/json (Docker's message), malformed JSON, required and absent; kOutOfRange:
// larger than json_limit.
StatusOr<Json> ReadJson(Request& request, bool required);

}  // namespace stasis::api
