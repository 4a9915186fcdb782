#include "base/status.h"

#include <charconv>
#include <cstring>
#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"

namespace stasis {
namespace {

constexpr char kErrnoPayload[] = "stasis/errno";

absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }

StatusCode CodeOf(int error) {
  switch (error) {
    case ENOENT:
    case ESRCH:
      return StatusCode::kNotFound;
    case EEXIST:
      return StatusCode::kAlreadyExists;
    case EINVAL:
    case ENAMETOOLONG:
    case E2BIG:
    case ELOOP:
      return StatusCode::kInvalidArgument;
    case EACCES:
    case EPERM:
      return StatusCode::kPermissionDenied;
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
      return StatusCode::kResourceExhausted;
    case EBUSY:
    case ENOTEMPTY:
    case EROFS:
    case EISDIR:
    case ENOTDIR:
      return StatusCode::kFailedPrecondition;
    case ETIMEDOUT:
      return StatusCode::kDeadlineExceeded;
    case ECANCELED:
      return StatusCode::kCancelled;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case ENOTCONN:
    case EAGAIN:
      return StatusCode::kUnavailable;
    default:
      return StatusCode::kInternal;
  }
}

}  // namespace

Status MakeError(StatusCode code, std::string_view message) { return Status(code, ToAbsl(message)); }

Status InvalidArgument(std::string_view m) { return MakeError(StatusCode::kInvalidArgument, m); }
Status NotFound(std::string_view m) { return MakeError(StatusCode::kNotFound, m); }
Status AlreadyExists(std::string_view m) { return MakeError(StatusCode::kAlreadyExists, m); }
Status FailedPrecondition(std::string_view m) { return MakeError(StatusCode::kFailedPrecondition, m); }
Status Unimplemented(std::string_view m) { return MakeError(StatusCode::kUnimplemented, m); }
Status Unavailable(std::string_view m) { return MakeError(StatusCode::kUnavailable, m); }
Status Internal(std::string_view m) { return MakeError(StatusCode::kInternal, m); }
Status DataLoss(std::string_view m) { return MakeError(StatusCode::kDataLoss, m); }
Status Cancelled(std::string_view m) { return MakeError(StatusCode::kCancelled, m); }
Status DeadlineExceeded(std::string_view m) { return MakeError(StatusCode::kDeadlineExceeded, m); }

Status ErrnoError(int error, std::string_view what) {
  std::string message(what);
  message += ": ";
  message += std::strerror(error);
  Status status = MakeError(CodeOf(error), message);
  status.SetPayload(kErrnoPayload, absl::Cord(std::to_string(error)));
  return status;
}

int GetErrno(const Status& status) {
  auto payload = status.GetPayload(kErrnoPayload);
  if (!payload) return 0;
  std::string text(*payload);
  int error = 0;
  std::from_chars(text.data(), text.data() + text.size(), error);
  return error;
}

Status WithMessage(const Status& status, std::string_view message) {
  if (status.ok()) return status;
  Status out = MakeError(status.code(), message);
  status.ForEachPayload(
      [&](absl::string_view url, const absl::Cord& payload) { out.SetPayload(url, payload); });
  return out;
}

Status Annotate(const Status& status, std::string_view what) {
  return WithMessage(status, std::string(what) + ": " + Message(status));
}

std::string Message(const Status& status) {
  absl::string_view message = status.message();
  return std::string(message.data(), message.size());
}

int ToHttp(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return 200;
    case StatusCode::kInvalidArgument:
    case StatusCode::kOutOfRange:
      return 400;
    case StatusCode::kUnauthenticated:
      return 401;
    case StatusCode::kPermissionDenied:
      return 403;
    case StatusCode::kNotFound:
      return 404;
    case StatusCode::kAlreadyExists:
    case StatusCode::kFailedPrecondition:
    case StatusCode::kAborted:
      return 409;
    case StatusCode::kCancelled:
      return 499;
    case StatusCode::kUnimplemented:
      return 501;
    case StatusCode::kUnavailable:
      return 503;
    case StatusCode::kDeadlineExceeded:
      return 504;
    case StatusCode::kResourceExhausted:
    case StatusCode::kUnknown:
    case StatusCode::kInternal:
    case StatusCode::kDataLoss:
    default:
      return 500;
  }
}

}  // namespace stasis
