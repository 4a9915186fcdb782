// Reads one HTTP/1.x request from bytes: Boost.Beast, which only http_parser.cc includes, since every file
// that does pays seconds to compile.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>

#include "api/request.h"
#include "base/status.h"

namespace stasis::api {

struct RequestHead {
  std::string method;
  std::string target;
  std::map<std::string, std::string, CaseLess> headers;
  bool http_1_1 = false;  // else 1.0
  bool keep_alive = false;
  bool has_body = false;
  bool expects_continue = false;
  bool wants_upgrade = false;  // there is a field Upgrade: dockerd looks at nothing else
};

// One request, then a new parser. One thread. Malformed input is kInvalidArgument with its HTTP status (400,
// 417, 431), after which the connection is of no more use.
class HttpParser {
 public:
  explicit HttpParser(size_t header_limit);
  ~HttpParser();

  // Takes what it can of the header off the front of `input`. True when the header is whole; before it,
  // `input` wants more bytes behind it.
  StatusOr<bool> ReadHead(std::string& input);
  const RequestHead& head() const { return head_; }  // once ReadHead said true

  // Takes body bytes off the front of `input`, decoded, into `out`. 0: the body is done, or else `input`
  // wants more.
  StatusOr<size_t> ReadBody(std::string& input, char* out, size_t size);
  bool body_begun() const { return body_begun_; }  // ReadBody was called
  bool done() const;                               // header and body are read

 private:
  struct Beast;
  std::unique_ptr<Beast> beast_;
  RequestHead head_;
  bool body_begun_ = false;
};

}  // namespace stasis::api
