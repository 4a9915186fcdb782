#include "api/http_error.h"

#include <charconv>
#include <string>

#include "absl/strings/cord.h"

namespace stasis::api {
namespace {

constexpr char kPayload[] = "stasis/http-status";

}  // namespace

Status HttpError(int http_status, std::string_view message) {
  Status status = InvalidArgument(message);
  status.SetPayload(kPayload, absl::Cord(std::to_string(http_status)));
  return status;
}

int HttpStatusOf(const Status& error) {
  int http_status = ToHttp(error.code());
  if (auto payload = error.GetPayload(kPayload)) {
    std::string text(*payload);
    std::from_chars(text.data(), text.data() + text.size(), http_status);
  }
  return http_status;
}

std::string_view ReasonPhrase(int http_status) {
  switch (http_status) {
    case 101:
      return "UPGRADED";  // Docker's word; clients compare the number only
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 204:
      return "No Content";
    case 304:
      return "Not Modified";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Payload Too Large";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 431:
      return "Request Header Fields Too Large";
    case 499:
      return "Client Closed Request";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    default:
      return "";
  }
}

}  // namespace stasis::api
