#include "api/request.h"

#include <algorithm>
#include <cctype>
#include <vector>

#include "api/http_error.h"
#include "base/json_error.h"

namespace stasis::api {
namespace {

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string MediaType(std::string_view content_type) {
  std::string type(content_type.substr(0, content_type.find(';')));
  std::transform(type.begin(), type.end(), type.begin(), Lower);
  size_t first = type.find_first_not_of(" \t");
  if (first == type.npos) return "";
  return type.substr(first, type.find_last_not_of(" \t") - first + 1);
}

StatusOr<std::string> ReadAll(Request& request) {
  std::string text;
  std::vector<char> buffer(64 << 10);
  for (;;) {
    STASIS_ASSIGN_OR_RETURN(size_t count, request.body(buffer.data(), buffer.size()));
    if (count == 0) return text;
    text.append(buffer.data(), count);
    if (text.size() > request.json_limit) {
      return HttpError(413,
                       "request body too large: more than " + std::to_string(request.json_limit) + " bytes");
    }
  }
}

}  // namespace

bool CaseLess::operator()(std::string_view a, std::string_view b) const {
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(),
                                      [](char x, char y) { return Lower(x) < Lower(y); });
}

std::string Request::Header(std::string_view name) const {
  auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

const std::string& Request::Value(std::string_view name) const {
  static const std::string kNone;
  auto found = values.find(name);
  return found == values.end() ? kNone : found->second;
}

StatusOr<Json> ReadJson(Request& request, bool required) {
  std::string content_type = request.Header("Content-Type");
  if (!content_type.empty() || request.has_body) {
    std::string type = MediaType(content_type);
    if (type.empty()) {
      return InvalidArgument("malformed Content-Type header (" + content_type + "): mime: no media type");
    }
    if (type != "application/json") {
      return InvalidArgument("unsupported Content-Type header (" + content_type +
                             "): must be 'application/json'");
    }
  }
  std::string text;
  if (request.has_body) {
    STASIS_ASSIGN_OR_RETURN(text, ReadAll(request));
  }
  if (text.find_first_not_of(" \t\r\n") == text.npos) {
    if (required) return InvalidArgument("invalid JSON: got EOF while reading request body");
    return Json();
  }
  StatusOr<Json> json = ParseJson(text);
  if (Message(json.status()) == kContentAfterJson) return json.status();
  if (!json.ok()) return Annotate(json.status(), "invalid JSON");
  return json;
}

}  // namespace stasis::api
