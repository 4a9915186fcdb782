#include "protocol/frame.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "linux/cancel.h"
#include "linux/unix_socket.h"

namespace stasis::protocol {
namespace {

constexpr size_t kHeader = 4;
constexpr size_t kReadStep = 64 << 10;

Deadline QuietDeadline(std::chrono::milliseconds limit) {
  return limit == std::chrono::milliseconds::max() ? kNoDeadline : After(limit);
}

// The whole of `bytes`, however slowly the peer reads, as long as it reads.
Status SendAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
    } else if (errno == EAGAIN) {
      STASIS_RETURN_IF_ERROR(WaitFor(fd, POLLOUT, After(kWriteLimit), {}).status());
    } else if (errno != EINTR) {
      return ErrnoError(errno, "send a frame");
    }
  }
  return {};
}

}  // namespace

StatusOr<Json> ReadFrame(int fd, Deadline deadline, std::stop_token cancel) {
  unsigned char header[kHeader];
  STASIS_RETURN_IF_ERROR(ReadExactly(fd, header, kHeader, deadline, cancel));
  size_t size = header[0] | static_cast<size_t>(header[1]) << 8 | static_cast<size_t>(header[2]) << 16 |
                static_cast<size_t>(header[3]) << 24;
  if (size > kMaxFrame) return DataLoss("frame of " + std::to_string(size) + " bytes is over the limit");
  std::string text;
  while (text.size() <
         size) {  // in steps: memory follows the bytes that came, not the length that was claimed
    size_t have = text.size();
    size_t step = std::min(size - have, kReadStep);
    text.resize(have + step);
    STASIS_RETURN_IF_ERROR(ReadExactly(fd, text.data() + have, step, deadline, cancel));
  }
  StatusOr<Json> frame = ParseJson(text);
  if (!frame.ok()) return DataLoss("frame: " + Message(frame.status()));
  if (!frame->is_object()) return DataLoss("frame: not a JSON object");
  return frame;
}

std::string EncodeFrame(const Json& frame) {
  std::string bytes(kHeader, '\0');
  bytes += DumpJson(frame);
  size_t size = bytes.size() - kHeader;
  for (size_t i = 0; i < kHeader; ++i) bytes[i] = static_cast<char>(size >> (8 * i) & 0xff);
  return bytes;
}

Status WriteFrame(int fd, const Json& frame) {
  std::string bytes = EncodeFrame(frame);
  if (bytes.size() - kHeader > kMaxFrame) return InvalidArgument("frame is over the limit");
  return SendAll(fd, bytes);
}

Json ErrorToJson(const Status& status) {
  return {{"code", static_cast<int>(status.code())}, {"message", Message(status)}};
}

Status ErrorFromJson(const Json& error) {
  int code = 0;
  std::string message;
  JsonReader reader(error, "error");
  reader.Get("code", &code);
  reader.Get("message", &message);
  if (!reader.status().ok() || code <= 0 || code > static_cast<int>(StatusCode::kUnauthenticated)) {
    return Internal("an error that makes no sense: " + DumpJson(error));
  }
  return MakeError(static_cast<StatusCode>(code), message);
}

StatusOr<Request> RequestFromJson(const Json& frame) {
  Request request;
  JsonReader reader(frame, "request");
  reader.Get("id", &request.id);
  reader.Get("method", &request.method);
  STASIS_RETURN_IF_ERROR(reader.status());
  if (request.id == 0 || request.method.empty()) return InvalidArgument("request: wants an id and a method");
  const Json* params = reader.Find("params");
  request.params = params ? *params : Json::object();
  if (!request.params.is_object()) return InvalidArgument("request.params: want an object");
  return request;
}

Json AnswerToJson(uint64_t id, const StatusOr<Json>& answer) {
  if (answer.ok()) return {{"id", id}, {"result", *answer}};
  return {{"id", id}, {"error", ErrorToJson(answer.status())}};
}

Json NoticeToJson(std::string_view notice, const Json& params) {
  return {{"notice", std::string(notice)}, {"params", params}};
}

StatusOr<Json> Caller::Call(std::string_view method, const Json& params,
                            std::chrono::milliseconds quiet_limit, std::stop_token cancel,
                            const OnNotice& on_notice) {
  if (!connection_.valid()) return Unavailable("the connection is closed");
  bool answered = false;
  StatusOr<Json> answer = Exchange(method, params, quiet_limit, std::move(cancel), on_notice, &answered);
  if (!answered) connection_.reset();
  return answer;
}

StatusOr<Json> Caller::Exchange(std::string_view method, const Json& params,
                                std::chrono::milliseconds quiet_limit, std::stop_token cancel,
                                const OnNotice& on_notice, bool* answered) {
  uint64_t id = next_id_++;
  STASIS_RETURN_IF_ERROR(
      WriteFrame(connection_.get(), {{"id", id}, {"method", std::string(method)}, {"params", params}}));
  for (;;) {
    STASIS_ASSIGN_OR_RETURN(Json frame, ReadFrame(connection_.get(), QuietDeadline(quiet_limit), cancel));
    uint64_t answer_id = 0;
    std::string notice;
    JsonReader reader(frame, "answer");
    reader.Get("id", &answer_id);
    reader.Get("notice", &notice);
    if (!reader.status().ok()) return DataLoss(Message(reader.status()));
    if (!notice.empty()) {
      const Json* notice_params = reader.Find("params");
      if (on_notice) on_notice(notice, notice_params ? *notice_params : Json::object());
      continue;
    }
    if (answer_id != id) return DataLoss("an answer to another request");
    *answered = true;
    if (const Json* error = reader.Find("error")) return ErrorFromJson(*error);
    const Json* result = reader.Find("result");
    return result ? *result : Json::object();
  }
}

}  // namespace stasis::protocol
