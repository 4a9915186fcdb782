// A client of the Engine API over a unix socket: one connection for each call. The only file of the command
// that knows HTTP.
//
// Calls wait for the daemon as long as it takes; the user ends them by a signal. Errors carry the text a user
// is shown: "Error response from daemon: MESSAGE" with the code that fits the answer's status, and
// kUnavailable where no daemon answers. Not thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"
#include "linux/unique_fd.h"

namespace stasis::cli {

inline constexpr char kDefaultHost[] = "unix:///run/stasis/stasis.sock";

struct Request {
  std::string method = "GET";
  std::string target;
  Json body;  // null: none
  // Instead of `body`: bytes that are sent as they come, up to `size` into `out`, 0 at the end.
  std::function<StatusOr<size_t>(char* out, size_t size)> upload = {};
  std::string upload_type = "application/x-tar";
};

class Exchange;  // one connection with its request and answer

// A call whose answer has begun; its body comes later.
class PendingCall {
 public:
  explicit PendingCall(std::unique_ptr<Exchange> exchange);
  PendingCall(PendingCall&&) noexcept;
  ~PendingCall();
  // Readable when more of the answer came, or the daemon left.
  int fd() const;
  // Whether bytes of the body were read with its head: fd() need not become readable then.
  bool HasBytes() const;
  // The rest of the body, waited for.
  StatusOr<Json> Finish();

 private:
  std::unique_ptr<Exchange> exchange_;
};

// A connection that has become a raw stream in both directions (101 Switching Protocols).
struct HijackedStream {
  UniqueFd socket;
  std::string first_bytes;  // of the stream, read with the answer's head
};

class ApiClient {
 public:
  // `host` is "unix://PATH" or a path. Does not connect yet.
  static StatusOr<ApiClient> Create(std::string_view host);

  // The answer's JSON, null where it has no body.
  StatusOr<Json> Call(const Request& request) const;
  // Hands the answer's body to `sink` as it comes. An error of the sink ends the call.
  Status Stream(const Request& request, const std::function<Status(std::string_view bytes)>& sink) const;
  // Returns once the answer's head is there.
  StatusOr<PendingCall> Begin(const Request& request) const;
  StatusOr<HijackedStream> Hijack(const Request& request) const;

 private:
  explicit ApiClient(std::string path) : path_(std::move(path)) {}
  StatusOr<std::unique_ptr<Exchange>> Open(const Request& request, bool upgrade) const;
  std::string path_;
};

}  // namespace stasis::cli
