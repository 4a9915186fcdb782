// The frames in which the private protocols travel over a unix stream socket: a length of four bytes, little
// endian, then that many bytes of one JSON object. docs/contracts/shim.md describes the bytes; change both or
// neither.
//
// A request is {"id":N,"method":"...","params":{...}}; its answer {"id":N,"result":{...}} or
// {"id":N,"error":{"code":C,"message":"..."}} with a canonical status code; in between, and at any time for
// who subscribed, notices {"notice":"...","params":{...}} without id. One connection carries one request at a
// time: a caller that wants two at once opens two.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/status.h"
#include "linux/clock.h"
#include "linux/unique_fd.h"

namespace stasis::protocol {

inline constexpr size_t kMaxFrame = 8 << 20;

// The version of both protocols. A supervisor drives shims of this version and of the one before.
inline constexpr int kVersion = 1;

// How long a peer that reads nothing may hold up a writer.
inline constexpr std::chrono::seconds kWriteLimit{30};

// One whole frame. kUnavailable at end of stream; kDataLoss for a frame over kMaxFrame or one that is not a
// JSON object; kDeadlineExceeded, kCancelled. After any error the connection is of no more use. A length
// without the bytes behind it costs no memory.
StatusOr<Json> ReadFrame(int fd, Deadline deadline, std::stop_token cancel);
// kInvalidArgument over kMaxFrame, nothing sent; kUnavailable when the peer is gone (no SIGPIPE);
// kDeadlineExceeded after kWriteLimit without progress.
Status WriteFrame(int fd, const Json& frame);
// The bytes of a frame, for those who send them on their own. Its JSON must be within kMaxFrame.
std::string EncodeFrame(const Json& frame);

Json ErrorToJson(const Status& status);
// Never ok: an error object that makes no sense becomes kInternal.
Status ErrorFromJson(const Json& error);

// The serving half's view of one request. `params` is an object; absent params are an empty one.
struct Request {
  uint64_t id = 0;
  std::string method;
  Json params;
};
StatusOr<Request> RequestFromJson(const Json& frame);
Json AnswerToJson(uint64_t id, const StatusOr<Json>& answer);
Json NoticeToJson(std::string_view notice, const Json& params);

// The calling half over one connection. Not thread-safe: one call at a time.
class Caller {
 public:
  explicit Caller(UniqueFd connection) : connection_(std::move(connection)) {}

  using OnNotice = std::function<void(const std::string& notice, const Json& params)>;
  // Sends one request and waits for its answer. The deadline is on silence: each notice starts it anew
  // (`quiet_limit`), so a long call that reports progress never runs into it. An error answer is returned as
  // that Status; kUnavailable when the other side is gone. After an error of the connection itself, a
  // cancellation or a time-out it is closed, which the other side takes as cancellation; later calls get
  // kUnavailable. quiet_limit milliseconds::max() means no limit.
  StatusOr<Json> Call(std::string_view method, const Json& params, std::chrono::milliseconds quiet_limit,
                      std::stop_token cancel, const OnNotice& on_notice = nullptr);

  int fd() const { return connection_.get(); }  // -1 once closed

 private:
  StatusOr<Json> Exchange(std::string_view method, const Json& params, std::chrono::milliseconds quiet_limit,
                          std::stop_token cancel, const OnNotice& on_notice, bool* answered);

  UniqueFd connection_;
  uint64_t next_id_ = 1;
};

}  // namespace stasis::protocol
