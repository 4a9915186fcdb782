// The one error type of Stasis: absl::Status and absl::StatusOr, and the few things absl lacks.
//
// An error's code is one of the canonical codes, which are gRPC's codes by number (ToHttp gives the HTTP
// status of each). Its message says what was being done, to what, and what the cause said; callers add
// their part in front with Annotate.
//
// Debian builds absl with a string_view of its own, which std::string_view does not convert to: signatures
// of ours use std::string_view, and only this header converts.
#pragma once

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace stasis {

using absl::Status;
using absl::StatusCode;
using absl::StatusOr;

// An error with this code and message. `code` must not be kOk.
Status MakeError(StatusCode code, std::string_view message);

// Shorthands for the codes that are used most.
Status InvalidArgument(std::string_view message);     // 400: the request itself is wrong
Status NotFound(std::string_view message);            // 404
Status AlreadyExists(std::string_view message);       // 409
Status FailedPrecondition(std::string_view message);  // 409: right request, wrong state
Status Unimplemented(std::string_view message);       // 501
Status Unavailable(std::string_view message);         // 503: try again later
Status Internal(std::string_view message);            // 500
Status DataLoss(std::string_view message);            // 500: stored bytes are damaged
Status Cancelled(std::string_view message);           // 499
Status DeadlineExceeded(std::string_view message);    // 504

// "WHAT: strerror(error)", with a code that fits `error` and the number itself kept for GetErrno. `what`
// names the call and its object: "openat2 config.json".
Status ErrnoError(int error, std::string_view what);

// The errno an error was made from, or 0.
int GetErrno(const Status& status);

// `status` in other words; code and payloads stay. Ok stays ok.
Status WithMessage(const Status& status, std::string_view message);

// `status` with "WHAT: " before its message; code and payloads stay. Ok stays ok.
Status Annotate(const Status& status, std::string_view what);

// The message as a std::string.
std::string Message(const Status& status);

// The HTTP status an error is answered with; 200 for ok.
int ToHttp(StatusCode code);

}  // namespace stasis

#define STASIS_CONCAT_INNER_(a, b) a##b
#define STASIS_CONCAT_(a, b) STASIS_CONCAT_INNER_(a, b)

// Returns from the enclosing function when `expr`, an absl::Status, is an error.
#define STASIS_RETURN_IF_ERROR(expr)                                 \
  if (::absl::Status stasis_status_ = (expr); stasis_status_.ok()) { \
  } else /* NOLINT */                                                \
    return stasis_status_

// STASIS_ASSIGN_OR_RETURN(Type name, expr): `expr` is an absl::StatusOr; its error is returned.
#define STASIS_ASSIGN_OR_RETURN(lhs, expr) \
  STASIS_ASSIGN_OR_RETURN_IMPL_(STASIS_CONCAT_(stasis_or_, __LINE__), lhs, expr)
#define STASIS_ASSIGN_OR_RETURN_IMPL_(or_, lhs, expr) \
  auto or_ = (expr);                                  \
  if (!or_.ok()) return std::move(or_).status();      \
  lhs = *std::move(or_)
